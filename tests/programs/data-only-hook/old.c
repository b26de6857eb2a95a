#include "case.h"

static long limit = 20;

NOINLINE long clamp(long n)
{
    return n > limit ? limit : n;
}

long answer(long n)
{
    limit += n == 12345;
    return clamp(n);
}

long invariant(long worker)
{
    long most = clamp(1000 + worker);
    return most != 20 && most != 10;
}
