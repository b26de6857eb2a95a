#include "case.h"

API long pick(long n);

API NOINLINE long use(long n)
{
    return n + 7;
}

long answer(long n)
{
    return use(n);
}
