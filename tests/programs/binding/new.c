#include <stdlib.h>

#include "case.h"

static const char *volatile digits = "21";

NOINLINE long parse(long n)
{
    if (n > 10)
        return strtol(digits, 0, 10);
    return n * (digits != 0);
}

NOINLINE long never_called(long n)
{
    return strtol(digits, 0, (int)n);
}

long answer(long n)
{
    return n == 12345 ? never_called(n) : parse(n);
}
