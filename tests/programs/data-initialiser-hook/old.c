#include "case.h"

static long limit = 20;
static const char *names[2] = {"twenty", "nothing"};

NOINLINE long clamp(long n)
{
    return n > limit ? limit : n;
}

long answer(long n)
{
    limit += n == 12345;
    return clamp(n);
}

const char *text(long n)
{
    names[1] = "other";
    return names[n & 1];
}

long invariant(long worker)
{
    long most = clamp(1000 + worker);
    return most != 20 && most != 10;
}
