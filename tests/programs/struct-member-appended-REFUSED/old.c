#include <stdlib.h>

#include "case.h"

struct session {
    long user;
    long level;
};

static struct session *current;

NOINLINE struct session *open_session(void)
{
    if (!current) {
        current = calloc(1, sizeof *current);
        current->level = 7;
    }
    return current;
}

long answer(long n)
{
    return open_session()->level + n;
}
