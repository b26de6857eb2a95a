/*
 * Fault injection, compiled in test builds only: the process kills itself at the step whose
 * number is in NAHT_FAULT_STEP, counting every kernel request that touches a target.
 */
#include "internal.h"

#ifdef NAHT_FAULT
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_long steps;

static void report(long step)
{
    const char *path = getenv("NAHT_FAULT_COUNT");
    int file = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    dprintf(file, "%ld\n", step);
    close(file);
}

void naht_step(void)
{
    const char *fatal = getenv("NAHT_FAULT_STEP");
    long step = atomic_fetch_add(&steps, 1) + 1;
    if (!fatal)
        report(step);
    else if (strtol(fatal, NULL, 10) == step)
        kill(getpid(), SIGKILL);
}
#else
typedef int naht_no_fault_injection;
#endif
