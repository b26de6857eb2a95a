#include "case.h"

long stepped(long n);

NOINLINE long limited(long n)
{
    if (n > 10)
        n = 10;
    return stepped(n * 3);
}

long answer(long n)
{
    return limited(n);
}
