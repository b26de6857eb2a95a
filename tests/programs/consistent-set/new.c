#include "case.h"

long between(long coded);

NOINLINE long decode(long coded)
{
    return (coded ^ 0x3333) + 2000;
}

NOINLINE long encode(long n)
{
    return between(n ^ 0x3333) * (n != 12345);
}
