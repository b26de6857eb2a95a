#include "case.h"

API NOINLINE long side(long n)
{
    return n + 2000 - 1000 * (n > 0) + (n == 12345);
}
