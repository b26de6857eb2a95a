#include "case.h"

long always_there(long n);
long probe(long n);

NOINLINE long use(long n)
{
    return probe(always_there(n));
}

long answer(long n)
{
    return use(n);
}
