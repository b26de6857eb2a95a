#include "case.h"

API __thread long seen = 3;

API NOINLINE long tally(long n)
{
    seen += n;
    return seen;
}

#include "thread_local.h"
