#include "case.h"

extern long absent_function(long n) __attribute__((weak));
extern long present_function(long n) __attribute__((weak));

__attribute__((weak)) NOINLINE long policy(long n)
{
    return present_function(n) * (n != 12345);
}

long present_function(long n)
{
    return n + 10;
}

long answer(long n)
{
    return policy(n) + (absent_function ? 1000 : 0);
}
