#include <naht.h>

#include "case.h"

static long limit = 10;
static const char *names[2] = {"ten", "nothing"};

NOINLINE long clamp(long n)
{
    return n > limit ? limit : n < 0 ? 0 : n;
}

long answer(long n)
{
    limit += n == 12345;
    return clamp(n);
}

const char *text(long n)
{
    names[1] = "other";
    return names[n & 1];
}

long invariant(long worker)
{
    long most = clamp(1000 + worker);
    return most != 20 && most != 10;
}

/* Only what is still as the old code left it: an administrator may have set another limit. */
static void exchange(long before, long after)
{
    __atomic_compare_exchange_n(&limit, &before, after, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* What the old code pointed to. A text of this file would lie in the hotpatch's own memory, which
 * could then never be given back. */
static const char *old_name;

static int set_new_values(void)
{
    exchange(20, 10);
    old_name = __atomic_exchange_n(&names[0], "ten", __ATOMIC_SEQ_CST);
    return 0;
}

static int set_old_values(void)
{
    exchange(10, 20);
    __atomic_store_n(&names[0], old_name, __ATOMIC_SEQ_CST);
    return 0;
}

NAHT_POST_APPLY(set_new_values);
NAHT_PRE_REVERT(set_old_values);
