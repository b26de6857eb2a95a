#include "case.h"

NOINLINE long histogram(long n)
{
    volatile char few[64];
    for (unsigned long i = 0; i < sizeof few; i++)
        few[i] = (char)n;
    return few[17];
}

long answer(long n)
{
    return histogram(n);
}
