#include "case.h"

struct Configuration {
    long base;
    Configuration() : base(answer(-1)) {}
};

static Configuration configuration;

long answer(long n)
{
    return n < 0 ? 40 : n + configuration.base;
}
