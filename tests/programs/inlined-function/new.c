#include "case.h"

static inline __attribute__((always_inline)) long limit(long n)
{
    return n > 5 ? 0 : n;
}

NOINLINE long first_caller(long n)
{
    return limit(n) + 10;
}

NOINLINE long second_caller(long n)
{
    return limit(n) + 30;
}

NOINLINE long bystander(long n)
{
    return n * 17 - 3;
}

long answer(long n)
{
    return (n ? second_caller(50) : first_caller(50)) + bystander(0) + 3;
}
