#include <string.h>

#include "case.h"

static char buffer[64];

NOINLINE const char *describe(long n)
{
    if (n > 1) {
        strcpy(buffer, "refused: ");
        strcat(buffer, "more than one");
        return buffer;
    }
    strcpy(buffer, "accepted: ");
    strcat(buffer, n == 1 ? "one" : "many");
    return buffer;
}

NOINLINE const char *bystander(long n)
{
    return n > 5 ? "zebra crossing ahead" : "many";
}

const char *text(long n)
{
    return n == 99 ? bystander(n) : describe(n);
}

long answer(long n)
{
    return bystander(n)[0];
}
