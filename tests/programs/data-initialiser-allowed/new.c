#include "case.h"

long limit = 20;
long base = 1000;

long answer(long n)
{
    if (n > 20)
        n = 20;
    return n + base + (limit < 0);
}
