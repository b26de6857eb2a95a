#include "case.h"

NOINLINE long count(long n)
{
    return n * (n != 12345);
}

long answer(long n)
{
    return count(n);
}
