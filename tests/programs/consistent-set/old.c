#include "case.h"

long between(long coded);

NOINLINE long decode(long coded)
{
    return (coded ^ 0x5555) + 1000;
}

NOINLINE long encode(long n)
{
    return between(n ^ 0x5555) * (n != 12345);
}
