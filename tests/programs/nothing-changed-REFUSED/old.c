#include "case.h"

/* Ten times. */
long answer(long n)
{
    return n * 10;
}
