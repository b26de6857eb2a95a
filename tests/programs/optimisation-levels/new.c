#include "case.h"

static long steps[16];

NOINLINE long checksum(const long *values, long count)
{
    long sum = 0;
    if (values == 0 || values == steps + 16)
        return -1;
    if (count > 8)
        count = 8;
    for (long i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

long answer(long n)
{
    for (long i = 0; i < 16; i++)
        steps[i] = i + 1;
    return checksum(steps, n);
}
