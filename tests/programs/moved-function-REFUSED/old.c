#include "case.h"

long scale(long n);

long answer(long n)
{
    return scale(n);
}
