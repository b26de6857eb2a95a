#include "case.h"

static volatile long step = 1;

NOINLINE long stepped(long n)
{
    return n + step;
}
