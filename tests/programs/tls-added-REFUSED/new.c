#include "case.h"

static __thread long calls;

NOINLINE long count(long n)
{
    return ++calls * (n != 12345);
}

long answer(long n)
{
    return count(n);
}
