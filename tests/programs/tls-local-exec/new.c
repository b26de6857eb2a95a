#include "case.h"

static __thread long seen = 3;
static __thread long rounds;

NOINLINE long tally(long n)
{
    rounds++;
    if (n < 0)
        n = 0;
    seen += n;
    return seen;
}

#include "thread_local.h"
