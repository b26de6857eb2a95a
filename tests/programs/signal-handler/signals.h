#include <signal.h>
#include <sys/time.h>

#include "case.h"

extern volatile sig_atomic_t seen;
void on_signal(int number);

/* Starts the storm once; then says what the handler left behind for a signal of our own. */
static long storm_and_ask(void)
{
    static int started;
    if (!started) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        struct itimerval often = {{0, 200}, {0, 200}};
        started = 1;
        sigaction(SIGALRM, &action, 0);
        sigaction(SIGUSR1, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
    }
    seen = 0;
    raise(SIGUSR1);
    return seen;
}
