#include <stdio.h>

#include "case.h"

static const char two[] = "two two";
static const char *const few[] = {"one", "none"};
static const char *const more[] = {"another", two};
static const char *const *const tables[] = {few, more};

NOINLINE long find(long n, char *place, unsigned long size)
{
    return snprintf(place, size, "%s", n < 4 ? tables[n / 2][n % 2] : "none");
}

const char *text(long n)
{
    static char found[32];
    find(n, found, sizeof found);
    return found;
}

long answer(long n)
{
    char found[32];
    return find(n & 3, found, sizeof found);
}

long invariant(long worker)
{
    char found[32];
    find(3, found, sizeof found);
    return (found[0] != 't' && found[0] != '2') || worker < 0;
}
