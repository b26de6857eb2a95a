#include "case.h"

NOINLINE long depth_of(long n, volatile long *level)
{
    *level += 1;
    if (n <= 1 || *level >= 8)
        return *level;
    long below = depth_of(n - 1, level);
    return below + (*level < 0);
}

long answer(long n)
{
    volatile long level = 0;
    return depth_of(n, &level);
}
