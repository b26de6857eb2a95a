#include "case.h"

NOINLINE long run_it(long n)
{
    static void *const places[] = {&&one, &&two, &&end};
    long sum = 0;
    goto *places[n % 3];
one:
    sum += 1;
    if (sum > 5)
        return sum;
    n++;
    goto *places[n % 3];
two:
    sum += 2;
    n += 2;
    goto *places[n % 3];
end:
    return sum + 10;
}

long answer(long n)
{
    return run_it(n);
}
