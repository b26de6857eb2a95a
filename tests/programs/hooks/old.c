#include <string.h>

#include "case.h"

long allowed = 1;
long factor = 10;

NOINLINE long scaled(long n)
{
    return n * factor * (n != 12345);
}

long answer(long n)
{
    return scaled(n);
}

long invariant(long worker)
{
    return worker < 0;
}

const char *extra(const char *command)
{
    allowed = strcmp(command, "forbid") != 0;
    return allowed ? "allowed" : "forbidden";
}
