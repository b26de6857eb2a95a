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

#define YIELDING_LOOKS 256
#define A_MOMENT 2000000 /* ns */

/* The first looks cost a yield each, because most threads stop within microseconds. */
static void pause_between_looks(unsigned look)
{
    struct timespec nap = {0, look < 1000 ? 20000 : 200000};
    if (look < YIELDING_LOOKS)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Looks once. Returns whether the wait is over. */
static bool has_stopped(pid_t thread, struct naht_stop_report *report)
{
    int found = look_at(thread, report);
    if (found < 0)
        *report = (struct naht_stop_report){.gone = true};
    return found != 0;
}

static bool sleeps_uninterruptibly(pid_t pid, pid_t thread, unsigned look)
{
    return look >= 100 && look % 20 == 0 && naht_thread_state(pid, thread) == 'D';
}

int naht_wait_stop(pid_t pid, pid_t thread, uint64_t deadline, struct naht_stop_report *report)
{
    for (unsigned look = 0;; look++) {
        if (has_stopped(thread, report))
            return 0;
        if (sleeps_uninterruptibly(pid, thread, look))
            return EBUSY;
        if (naht_now() > deadline)
            return ETIMEDOUT;
        pause_between_looks(look);
    }
}

static uint64_t smaller(uint64_t one, uint64_t other) { return one < other ? one : other; }

/*
 * A wait's last part, and its first, may be anything: of those a moment counts, so that many short
 * waits add up. The kernel brings the run time of a thread on a processor up to date at every tick.
 */
static void count_time(pid_t pid, pid_t thread, struct naht_patience *patience, bool is_over)
{
    uint64_t now = naht_now(), elapsed = now - patience->seen, ran = 0;
    uint64_t used = smaller(elapsed, A_MOMENT);
    if (!is_over) {
        if (naht_thread_state(pid, thread) != 'R' || !naht_run_time(pid, thread, &ran))
            used = elapsed;
        else if (patience->ran)
            used = smaller(elapsed, ran - patience->ran);
        patience->ran = ran;
    }
    patience->left -= smaller(patience->left, used);
    patience->seen = now;
}

static int why_give_up(
    pid_t pid, pid_t thread, const struct naht_patience *patience, unsigned look)
{
    if (!patience->sleeps && sleeps_uninterruptibly(pid, thread, look))
        return EBUSY;
    if (!patience->left)
        return ETIMEDOUT;
    return naht_now() > patience->deadline ? EAGAIN : 0;
}

/*
 * A wait that is long mostly is so because of load: then we look in time only when our turn comes
 * before that of others. We sleep between the looks.
 */
int naht_wait_patiently(pid_t pid, pid_t thread, struct naht_patience *patience,
    struct naht_stop_report *report)
{
    int error = 0;
    unsigned look = 0;
    patience->seen = naht_now();
    for (; !error && !has_stopped(thread, report); look++) {
        if (look == YIELDING_LOOKS)
            naht_set_urgent(true);
        if (look >= YIELDING_LOOKS && look % 32 == 0)
            count_time(pid, thread, patience, false);
        error = why_give_up(pid, thread, patience, look);
        if (!error)
            pause_between_looks(look);
    }
    if (look > YIELDING_LOOKS)
        naht_set_urgent(false);
    count_time(pid, thread, patience, true);
    return error;
}
