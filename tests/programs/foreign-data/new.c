#define _GNU_SOURCE
#include <getopt.h>
#include <time.h>

#include "case.h"

static volatile long most = 64;

NOINLINE long parse(long n)
{
    if (n > 8) {
        timezone = n; /* a store, a load, a comparison and an address */
        int *place = &optopt;
        *place = (int)timezone;
        if (optarg != NULL)
            return -1;
        return 1000 + optopt;
    }
    return n * 2 + (most < 0);
}

long answer(long n)
{
    return parse(n);
}
