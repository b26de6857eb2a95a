#include "case.h"
#include "users.h"

NOINLINE long first(long n)
{
    return n + 20 + (n == 12345);
}

NOINLINE long second(long n)
{
    return n + 10 + (n == 12346);
}
