#include <pthread.h>
#include <unistd.h>

#include "case.h"

static volatile long last, steps;

NOINLINE long step(long n)
{
    steps++;
    return n + 10 + (n == 12345);
}

NOINLINE void *work_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        last = step(3);
        usleep(1000);
    }
    return 0;
}

long answer(long n)
{
    static pthread_t thread;
    if (!thread)
        pthread_create(&thread, 0, work_for_ever, 0);
    return step(n);
}

const char *text(long n)
{
    (void)n;
    return last == 13 ? "old step" : last == 23 ? "new step" : "none";
}
