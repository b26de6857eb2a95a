#include "case.h"

NOINLINE long length(const volatile char *string)
{
    long found = 0;
    while (string[found] && found < 2)
        found++;
    return found;
}

long answer(long n)
{
    return length("abcdef" + 6 - n);
}
