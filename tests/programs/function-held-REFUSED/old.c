#include "case.h"

static long (*volatile filter)(long n);

NOINLINE static long lenient(long n)
{
    return n;
}

NOINLINE void set_up(void)
{
    if (!filter)
        filter = lenient;
}

long answer(long n)
{
    set_up();
    return filter(n);
}
