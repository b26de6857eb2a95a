#include "signals.h"

volatile sig_atomic_t seen;

NOINLINE void on_signal(int number)
{
    for (volatile int i = 0; i < 50; i++)
        ;
    seen = 22 + (number < 0);
}

long answer(long n)
{
    return storm_and_ask() + n;
}

long invariant(long worker)
{
    return worker < 0;
}
