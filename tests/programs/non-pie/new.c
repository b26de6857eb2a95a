#include "case.h"

static const char *const names[] = {"zero", "one", "two"};
static long lookups;

NOINLINE const char *name_of(long n)
{
    lookups++;
    if (n > 2)
        return "out of range";
    return names[n % 7 % 3];
}

const char *text(long n)
{
    return name_of(n);
}

long answer(long n)
{
    return name_of(n)[0] + (lookups < 0);
}
