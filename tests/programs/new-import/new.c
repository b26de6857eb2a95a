#define _GNU_SOURCE
#include <math.h>
#include <string.h>

#include "case.h"

static const char *volatile input = "GET / HTTP/1.0";
static volatile long most = 64;

NOINLINE long parse(long n)
{
    const char *line = input;
    if (n > 8) {
        const char *word = memmem(line, strnlen(line, most), "HTTP", 4);
        return 1000 + (long)(cbrt((double)most) - 4.0 + 3.0) * (word == line + 6);
    }
    return n * 2 + (input == 0) + (most < 0);
}

long answer(long n)
{
    return parse(n);
}
