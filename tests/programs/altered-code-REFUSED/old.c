#include "case.h"

NOINLINE long clamp(long n)
{
    return n * 3 + 1;
}

long answer(long n)
{
    return clamp(n) + 1;
}
