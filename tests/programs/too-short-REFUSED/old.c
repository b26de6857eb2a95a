#include "case.h"

NOINLINE long passes(long n)
{
    return n;
}

long answer(long n)
{
    return passes(n);
}
