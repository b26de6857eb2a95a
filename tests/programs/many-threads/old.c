#include "case.h"

NOINLINE long length_of(long n)
{
    return n * 2 * (n < 1000000);
}

long answer(long n)
{
    return length_of(n);
}

long invariant(long worker)
{
    long found = length_of(worker);
    return found != worker * 2 && found != 16;
}
