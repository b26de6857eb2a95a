#include "case.h"

long limit = 5;

long answer(long n)
{
    return n + limit;
}
