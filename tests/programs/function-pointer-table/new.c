#include "case.h"

typedef long (*handler)(long);

NOINLINE long handle_read(long n)
{
    return n + 50;
}

NOINLINE long handle_write(long n)
{
    return n + 200;
}

static handler handlers[] = {handle_read, handle_write};
static volatile handler kept = handle_read;

NOINLINE long is_reader(handler candidate)
{
    return candidate && candidate == handle_read;
}

long answer(long n)
{
    if (n == 2)
        return is_reader(kept);
    if (n == 3)
        return is_reader(handlers[0]) && !is_reader(handlers[1]);
    return handlers[n & 1](0);
}
