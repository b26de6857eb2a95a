#include <stdlib.h>

#include "case.h"

NOINLINE static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

NOINLINE static long unchecked(int *sorted, long n)
{
    return n < 10 ? sorted[n] : n;
}

NOINLINE long answer(long n)
{
    int numbers[] = {3, 9, 1, 7, 5, 0, 8, 2, 6, 4};
    qsort(numbers, 10, sizeof *numbers, ascending);
    return unchecked(numbers, n);
}
