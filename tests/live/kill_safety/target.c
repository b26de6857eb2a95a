/*
 * A process that notices when something is wrong with it: threads that compute, that sleep, that poll and that
 * take signals, each checking what it sees. Prints "PID"; each input line is answered with
 * "version faults beat beat …".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8

volatile long faults;
static volatile long beats[THREADS], signals;
int outer(int x);

static void fault_unless(int right)
{
    if (!right)
        __atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED);
}

static void *compute(void *number)
{
    double sum = 0;
    for (unsigned long i = 0;; i++) {
        double before = sum;
        sum += 0.5;
        fault_unless(sum - before == 0.5);
        sum = sum > 1e6 ? 0 : sum;
        if (i % 64 == 0) {
            int version = outer((int)i);
            fault_unless(version == 1 || version == 2);
        }
        beats[(long)number]++;
        if (i % 4096 == 0)
            usleep(200);
    }
    return NULL;
}

static void *sleeper(void *number)
{
    for (;; beats[(long)number]++) {
        struct timespec nap = {0, 2000000};
        fault_unless(!nanosleep(&nap, NULL));
        outer(3);
    }
    return NULL;
}

static void *poller(void *number)
{
    for (;; beats[(long)number]++)
        fault_unless(!poll(NULL, 0, 3));
    return NULL;
}

static void on_signal(int signal)
{
    (void)signal;
    outer(4);
    signals++;
}

static void *signaller(void *number)
{
    for (;; beats[(long)number]++) {
        long before = signals;
        raise(SIGUSR1);
        fault_unless(signals == before + 1);
        usleep(700);
    }
    return NULL;
}

int main(void)
{
    void *(*bodies[])(void *) = {compute, compute, sleeper, sleeper, poller, poller, signaller};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    char line[64];
    sigaction(SIGUSR1, &action, NULL);
    for (long i = 0; i < 7; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, bodies[i], (void *)i);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%d\n", getpid());
    while (fgets(line, sizeof line, stdin)) {
        printf("%d %ld", outer(5), faults);
        for (int i = 0; i < 7; i++)
            printf(" %ld", beats[i]);
        printf("\n");
    }
    return faults ? 1 : 0;
}
