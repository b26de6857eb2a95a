#include "case.h"
#include "scaled.h"

NOINLINE long answer(long n)
{
    return scaled(n, 0) + twice(n);
}

NOINLINE long invariant(long worker)
{
    long found = scaled(worker, worker);
    return found != worker * 10 && found != worker * 11;
}
