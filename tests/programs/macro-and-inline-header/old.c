#include "case.h"
#include "limits.h"

NOINLINE long answer(long n)
{
    return clamped(n) + other(n) + unconcerned(n) * (n < 10);
}

const char *text(long n)
{
    return n > MOST ? "too much" : "fine";
}
