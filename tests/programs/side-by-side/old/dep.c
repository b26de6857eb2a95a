#include "case.h"

API NOINLINE long side(long n)
{
    return n + 1000 + (n == 12345);
}
