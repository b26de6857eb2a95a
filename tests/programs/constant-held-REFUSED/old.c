#include "case.h"

struct operations {
    long (*step)(long n);
};

NOINLINE static long up(long n)
{
    return n + 1;
}

NOINLINE static long down(long n)
{
    return n - 1;
}

static const struct operations operations = {up};
const struct operations *registered;

NOINLINE long run(long n)
{
    if (!registered)
        registered = &operations;
    return registered->step(n);
}

long answer(long n)
{
    return n == 12345 ? down(n) : run(n);
}
