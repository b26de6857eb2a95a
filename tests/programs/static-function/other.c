#include "case.h"

static NOINLINE long validate(long n)
{
    return n + 100;
}

long from_other(long n)
{
    return validate(n);
}
