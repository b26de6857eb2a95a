#include "case.h"

long limit = 10;
long base = 1000;

long answer(long n)
{
    return n + base + (limit < 0);
}
