#include "case.h"

long stepped(long n);

NOINLINE long limited(long n)
{
    return stepped(n * 3);
}

long answer(long n)
{
    return limited(n);
}
