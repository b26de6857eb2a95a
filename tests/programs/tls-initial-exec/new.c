#include "case.h"

API __thread long seen = 3;

API NOINLINE long tally(long n)
{
    if (n < 0)
        n = 0;
    seen += n;
    return seen;
}

#include "thread_local.h"
