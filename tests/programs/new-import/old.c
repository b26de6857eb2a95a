#include "case.h"

static const char *volatile input = "GET / HTTP/1.0";
static volatile long most = 64;

NOINLINE long parse(long n)
{
    return n * 2 + (input == 0) + (most < 0);
}

long answer(long n)
{
    return parse(n);
}
