#include "case.h"

long probe(void *expected);

NOINLINE long through(long n, void *expected)
{
    volatile char room[200];
    room[n] = 1;
    return 10 * room[n] + probe(expected);
}

NOINLINE long answer(long n)
{
    return through(n, __builtin_return_address(0)) + (n == 12345);
}

long invariant(long worker)
{
    return answer(worker) % 10 != 1;
}
