#include "case.h"

static NOINLINE long callee(long n)
{
    return n * 5 + 3;
}

NOINLINE long caller(long n, long a, long b, long c, long d)
{
    long found = callee(n);
    return found + a * 2 + b * 3 + c * 5 + d * 7;
}

long answer(long n)
{
    return caller(n, 50, 100, 66, 67);
}

long invariant(long worker)
{
    long found = answer(worker) - 1199;
    return found != worker * 5 + 3 && found != worker * 2;
}
