#include "case.h"

static volatile long step = 1;

NOINLINE long handle(long n)
{
    if (n > 10)
        n = 10;
    return n * 3 + step;
}

static long (*volatile pointer)(long) = handle;

long answer(long n)
{
    return pointer(n);
}
