#include <naht.h>

#include "case.h"

static long limit = 10;

NOINLINE long clamp(long n)
{
    return n > limit ? limit : n;
}

long answer(long n)
{
    limit += n == 12345;
    return clamp(n);
}

long invariant(long worker)
{
    long most = clamp(1000 + worker);
    return most != 20 && most != 10;
}

static int set_new_value(void)
{
    __atomic_store_n(&limit, 10, __ATOMIC_SEQ_CST);
    return 0;
}

static int set_old_value(void)
{
    __atomic_store_n(&limit, 20, __ATOMIC_SEQ_CST);
    return 0;
}

NAHT_POST_APPLY(set_new_value);
NAHT_PRE_REVERT(set_old_value);
