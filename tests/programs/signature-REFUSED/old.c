#include "case.h"

API NOINLINE long measure(long n)
{
    return n * 10;
}

long answer(long n)
{
    return measure(n);
}
