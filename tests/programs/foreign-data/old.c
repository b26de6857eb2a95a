#include <getopt.h>
#include <time.h>

#include "case.h"

static volatile long most = 64;

NOINLINE long parse(long n)
{
    return n * 2 + (most < 0);
}

long answer(long n)
{
    return parse(n);
}
