#include "case.h"

static long (*volatile filter)(long n);

NOINLINE static long strict(long n)
{
    return n < 0 ? 0 : n;
}

NOINLINE void set_up(void)
{
    if (!filter)
        filter = strict;
}

long answer(long n)
{
    set_up();
    return filter(n);
}
