#include "case.h"

static long portable(long n)
{
    return n + 1;
}

static long chosen(long n)
{
    return n + 42;
}

static long (*resolve(void))(long)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse2") ? chosen : portable;
}

API long pick(long n) __attribute__((ifunc("resolve")));

API long through_pick(long n)
{
    return pick(n);
}
