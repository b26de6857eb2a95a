#include "case.h"

static long calls;

API NOINLINE long measure(long n)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    return n * 10;
}

long answer(long n)
{
    return measure(n);
}
