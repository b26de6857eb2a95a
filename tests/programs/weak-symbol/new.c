#include "case.h"

extern long absent_function(long n) __attribute__((weak));
extern long present_function(long n) __attribute__((weak));

__attribute__((weak)) NOINLINE long policy(long n)
{
    if (absent_function)
        return absent_function(n);
    return present_function ? present_function(n) + 90 : 0;
}

long present_function(long n)
{
    return n + 10;
}

long answer(long n)
{
    return policy(n) + (absent_function ? 1000 : 0);
}
