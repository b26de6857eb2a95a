#include "case.h"

NOINLINE static long measure(long n)
{
    return n * 10 + (n == 12345);
}

long answer(long n)
{
    return measure(n);
}
