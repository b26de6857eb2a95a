#include "case.h"

struct Configuration {
    long base;
    Configuration() : base(answer(-1)) {}
};

NOINLINE long limit(long n)
{
    return n > 10 ? 10 : n;
}

static Configuration configuration;

long answer(long n)
{
    return n < 0 ? 40 : limit(n) + configuration.base;
}
