#include "case.h"
#include "pick.h"

NOINLINE long use(long n)
{
    return pick(n) * (n != 12345);
}

long answer(long n)
{
    return use(n);
}
