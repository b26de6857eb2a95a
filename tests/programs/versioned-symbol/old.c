#include "case.h"

__attribute__((symver("compute@CASE_1"))) API NOINLINE long compute_first(long n)
{
    return n + 1;
}

__attribute__((symver("compute@@CASE_2"))) API NOINLINE long compute_second(long n)
{
    return n + 2 + (n == 12345);
}

long answer(long n)
{
    return n == 99 ? compute_first(n) : compute_second(n);
}
