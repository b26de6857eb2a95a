#include "case.h"

long always_there(long n);

NOINLINE long use(long n)
{
    return always_there(n) * (n != 12345);
}

long answer(long n)
{
    return use(n);
}
