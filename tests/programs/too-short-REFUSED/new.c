#include "case.h"

static volatile long highest = 2;

NOINLINE long passes(long n)
{
    return n > highest ? 0 : n;
}

long answer(long n)
{
    return passes(n);
}
