#include "case.h"
#include "scaled.h"

NOINLINE long twice(long n)
{
    return scaled(n) * 2;
}
