#include "line_log.h"

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
    return n / 1000;
}

NOINLINE long fourth(long n)
{
    LOG("fourth");
    return n / 5000;
}
