#include "case.h"

NOINLINE long bystander(long n)
{
    return n * 10 + (n == 12345);
}

long answer(long n)
{
    return bystander(n) + n;
}
