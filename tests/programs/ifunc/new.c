#include "case.h"

API long pick(long n);

API NOINLINE long use(long n)
{
    return pick(n) - (n == 12345);
}

long answer(long n)
{
    return use(n);
}
