#include "case.h"

long helper(long n);
extern long shared_state;

NOINLINE long inner(long n)
{
    return helper(n) + n + (shared_state < 0);
}

long answer(long n)
{
    return inner(n);
}
