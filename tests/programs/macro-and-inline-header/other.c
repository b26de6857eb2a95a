#include "case.h"
#include "limits.h"

NOINLINE long other(long n)
{
    return clamped(n) * 5;
}

NOINLINE long unconcerned(long n)
{
    return n * 6 + 1;
}
