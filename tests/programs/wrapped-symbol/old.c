#include "case.h"

extern long a64l(const char *);
extern long __real_a64l(const char *);

long __wrap_a64l(const char *text)
{
    return __real_a64l(text) * 10;
}

NOINLINE long policy(long n)
{
    return a64l("1") + n;
}

long answer(long n)
{
    return policy(n);
}
