#include <string.h>

#include "case.h"

static __thread volatile long step = 1;
static char buffer[32];

NOINLINE long limited(long n)
{
    strcpy(buffer, "hello");
    if (n > 10)
        return 10 * 3 + step + (long)strlen(buffer);
    return n * 3 + step;
}

long answer(long n)
{
    return limited(n) + (strlen(buffer) == 4);
}
