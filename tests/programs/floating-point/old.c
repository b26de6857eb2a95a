#include "case.h"

NOINLINE double blend(double a, float b, double c, long n)
{
    return a * 1.5 + b * 0.25 + c * 2.0 + n;
}

long answer(long n)
{
    return (long)blend(8.0, 20.0f, 5.0, n);
}

long invariant(long worker)
{
    double mine = 3.0 + worker;
    volatile double kept = mine * 7.125;
    long found = answer(10);
    return (found != 37 && found != 25) || kept != mine * 7.125;
}
