#include "case.h"

long decode(long coded);

static volatile long rounds;

NOINLINE long between(long coded)
{
    for (volatile int i = 0; i < 2000; i++)
        rounds = i;
    return decode(coded) + (rounds < 0);
}

long answer(long n)
{
    long encode(long);
    return encode(n);
}

long invariant(long worker)
{
    long found = answer(worker);
    return found != 1000 + worker && found != 2000 + worker;
}
