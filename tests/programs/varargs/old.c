#include <stdarg.h>

#include "case.h"

NOINLINE double total(int count, ...)
{
    va_list list;
    double sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++)
        sum += i % 2 ? va_arg(list, double) : (double)va_arg(list, int);
    va_end(list);
    return sum;
}

long answer(long n)
{
    return (long)total(8, 1, 2.0, 3, 4.0, 5, 6.0, 7, 6.0) + n - 4;
}
