#include "case.h"

long from_other(long n);

static NOINLINE long validate(long n)
{
    return from_other(n) * (n + 1 != 0);
}

long answer(long n)
{
    return validate(n);
}
