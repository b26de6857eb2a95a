#include "case.h"

long limit = 10;

long answer(long n)
{
    return n + limit;
}
