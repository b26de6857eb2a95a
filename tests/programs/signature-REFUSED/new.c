#include "case.h"

API NOINLINE long measure(long n, long extra_size)
{
    return n * 10 + extra_size;
}

long answer(long n)
{
    return measure(n, 3);
}
