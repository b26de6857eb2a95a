#include "case.h"

static volatile long step = 1;

static NOINLINE long limited(long n)
{
    if (n > 10)
        n = 10;
    return n * 3 + step;
}

long answer(long n)
{
    return limited(n);
}
