#include "case.h"
#include "scaled.h"

NOINLINE long twice(long n)
{
    return scaled(n, n) * 2 - n;
}
