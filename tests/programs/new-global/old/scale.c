#include "case.h"

NOINLINE long scale(long n)
{
    return n * 3 + (n == 12345);
}
