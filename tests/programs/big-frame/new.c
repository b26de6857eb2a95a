#include "case.h"

NOINLINE long histogram(long n)
{
    volatile char many[128 * 1024];
    for (unsigned long i = 0; i < sizeof many; i += 512)
        many[i] = (char)n;
    return many[512] + many[sizeof many - 512];
}

long answer(long n)
{
    return histogram(n);
}
