#include <stdlib.h>

#include "case.h"

struct session {
    long user;
    long level;
    long attempts;
};

static struct session *current;

NOINLINE struct session *open_session(void)
{
    if (!current) {
        current = calloc(1, sizeof *current);
        current->level = 7;
        current->attempts = 1;
    }
    return current;
}

long answer(long n)
{
    return open_session()->level + n + open_session()->attempts;
}
