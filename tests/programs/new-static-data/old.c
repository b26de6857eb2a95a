#include "case.h"

NOINLINE long count_refused(long n)
{
    return n * (n != 12345);
}

long answer(long n)
{
    return count_refused(n);
}
