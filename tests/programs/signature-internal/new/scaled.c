#include "case.h"
#include "scaled.h"

NOINLINE long scaled(long n, long more)
{
    return n * 10 + more;
}
