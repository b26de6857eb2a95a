#include "line_log.h"

/* This comment moves
 * everything down
 * by four lines. */

NOINLINE long first(long n)
{
    LOG("first");
    return n - n;
}

NOINLINE long second(long n)
{
    if (n > 100)
        LOG("second, long");
    LOG("second");
    return n / 1000;
}

NOINLINE long third(long n)
{
    LOG("third");
    if (n > 10)
        return -1;
    return n / 1000;
}

NOINLINE long fourth(long n)
{
    LOG("fourth");
    return n / 5000;
}
