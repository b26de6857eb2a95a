/* Runs tracing work on a thread of its own, and waits for single stops. */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct job {
    void (*work)(void *);
    void *context;
};

/*
 * Threads that we wake would preempt us one by one while we stop and release them. Next to a real-time
 * thread they run when it waits, all together. Without the privilege it only takes longer.
 */
void naht_set_urgent(bool urgent)
{
    struct sched_param priority = {.sched_priority = urgent ? 1 : 0};
    pthread_setschedparam(pthread_self(), urgent ? SCHED_FIFO : SCHED_OTHER, &priority);
}

static void *run(void *argument)
{
    struct job *job = argument;
    job->work(job->context);
    return NULL;
}

/*
 * ptrace binds to the calling thread; when it ends, the kernel detaches what is left, even a
 * thread in uninterruptible sleep, which PTRACE_DETACH cannot reach.
 */
void naht_in_tracer(void (*work)(void *), void *context)
{
    struct job job = {work, context};
    sigset_t all, old;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&thread, NULL, run, &job);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!error)
        pthread_join(thread, NULL);
}

long naht_ptrace(long request, pid_t thread, void *address, void *data)
{
    naht_step();
    /* The raw PEEK request stores through `data`; the library call returns the word instead. */
    long value = ptrace((enum __ptrace_request)request, thread, address, data);
    int error = errno;
    naht_step();
    errno = error;
    return value;
}

uint64_t naht_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void interpret(const siginfo_t *info, struct naht_stop_report *report)
{
    *report = (struct naht_stop_report){0};
    if (info->si_code != CLD_TRAPPED && info->si_code != CLD_STOPPED) {
        report->gone = true;
        return;
    }
    int signal = info->si_status & 0xff, event = info->si_status >> 8;
    if (event)
        report->event = event;
    else if (signal == (SIGTRAP | 0x80)) /* PTRACE_O_TRACESYSGOOD */
        report->event = NAHT_SYSCALL_STOP;
    else
        report->signal = signal;
}

/*
 * Looks without consuming: what a wait consumes is cleared in the tracee (wait_task_stopped), and
 * then our death would make a thread that stopped to take a signal go on without it. What has ended
 * is reaped by its parent, or by the kernel when this thread ends.
 */
static int look_at(pid_t thread, struct naht_stop_report *report)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)thread, &info, WEXITED | WSTOPPED | __WALL | WNOHANG | WNOWAIT))
        return errno == ECHILD ? -1 : 0;
    if (!info.si_pid)
        return 0;
    naht_step();
    interpret(&info, report);
    return 1;
}

/* The first looks cost a yield each, because most threads stop within microseconds. */
static void pause_between_looks(unsigned look)
{
    struct timespec nap = {0, look < 1000 ? 20000 : 200000};
    if (look < 256)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

int naht_wait_stop(pid_t pid, pid_t thread, uint64_t deadline, struct naht_stop_report *report)
{
    for (unsigned look = 0;; look++) {
        int found = look_at(thread, report);
        if (found < 0)
            *report = (struct naht_stop_report){.gone = true};
        if (found)
            return 0;
        if (look >= 100 && look % 20 == 0 && naht_thread_state(pid, thread) == 'D')
            return EBUSY;
        if (naht_now() > deadline)
            return ETIMEDOUT;
        pause_between_looks(look);
    }
}
