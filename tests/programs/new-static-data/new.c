#include "case.h"

static long base = 100;
static long refused[4];

NOINLINE long count_refused(long n)
{
    if (n < 0) {
        refused[1]++;
        return base + refused[1] + refused[2];
    }
    refused[1] = 0;
    return n * (n != 12345);
}

long answer(long n)
{
    return count_refused(n);
}
