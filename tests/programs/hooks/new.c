#include <string.h>

#include <naht.h>

#include "case.h"

long allowed = 1;
long factor = 10;

NOINLINE long scaled(long n)
{
    return n * (factor - 900) * (n != 12345);
}

long answer(long n)
{
    return scaled(n);
}

long invariant(long worker)
{
    return worker < 0;
}

const char *extra(const char *command)
{
    allowed = strcmp(command, "forbid") != 0;
    return allowed ? "allowed" : "forbidden";
}

static int may_apply(void)
{
    return allowed ? 0 : 1;
}

static int after_apply(void)
{
    factor = 1000;
    return 0;
}

static int before_revert(void)
{
    factor = 10;
    return 0;
}

NAHT_PRE_APPLY(may_apply);
NAHT_POST_APPLY(after_apply);
NAHT_PRE_REVERT(before_revert);
