#include "case.h"

NOINLINE long last(long n)
{
    return n + 1000;
}

NOINLINE long middle(long n)
{
    return last(n + 1);
}

NOINLINE long answer(long n)
{
    return middle(n * 3 - n - n);
}
