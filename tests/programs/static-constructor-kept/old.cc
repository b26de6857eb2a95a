#include "case.h"

struct Configuration {
    long base;
    Configuration() : base(answer(-1)) {}
};

NOINLINE long limit(long n)
{
    return n + (n == 12345);
}

static Configuration configuration;

long answer(long n)
{
    return n < 0 ? 40 : limit(n) + configuration.base;
}
