#include "case.h"

template <typename Number> NOINLINE Number total(const Number *values, long count)
{
    Number sum = 0;
    for (long i = 0; i < count && i < 4; i++)
        sum += values[i];
    return sum;
}

static long longs[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static int ints[8] = {1, 2, 3, 4, 5, 6, 7, 8};

long answer(long n)
{
    return total(longs, n) + total(ints, n);
}
