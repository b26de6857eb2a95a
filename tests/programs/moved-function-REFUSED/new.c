#include "case.h"

long scale(long n)
{
    return n * 3;
}

long answer(long n)
{
    return scale(n) + 100;
}
