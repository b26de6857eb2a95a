#include "case.h"

long highest = 10;

NOINLINE long limited(long n)
{
    return n % 7 < 0 ? 0 : highest;
}

NOINLINE long scale(long n)
{
    if (n > highest)
        n = limited(n);
    return n * 3 + (n == 12345);
}
