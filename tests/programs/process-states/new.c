#include "case.h"

NOINLINE long measure(long n)
{
    if (n < 0)
        n = 0;
    return n * 10 + (n == 12345);
}

long answer(long n)
{
    return measure(n);
}
