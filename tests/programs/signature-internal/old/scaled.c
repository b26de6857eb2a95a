#include "case.h"
#include "scaled.h"

NOINLINE long scaled(long n)
{
    return n * 10;
}
