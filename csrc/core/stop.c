/*
 * Stops every thread of a process and lets them go again.
 *
 * PTRACE_SEIZE attaches without stopping, so all threads are seized first and the clock of the
 * pause starts only with the first PTRACE_INTERRUPT.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* /proc lists threads in the order in which we noted them, so `hint` is nearly always right. */
static bool is_known(const struct naht_stopped *stopped, pid_t id, size_t hint)
{
    if (hint < stopped->count && stopped->threads[hint].id == id)
        return true;
    for (size_t i = 0; i < stopped->count; i++)
        if (stopped->threads[i].id == id)
            return true;
    return false;
}

static struct naht_thread *add_thread(struct naht_stopped *stopped, pid_t id)
{
    if (stopped->count == stopped->capacity) {
        size_t capacity = stopped->capacity ? stopped->capacity * 2 : 64;
        struct naht_thread *larger = realloc(stopped->threads, capacity * sizeof *larger);
        if (!larger)
            return NULL;
        stopped->threads = larger;
        stopped->capacity = capacity;
    }
    struct naht_thread *thread = &stopped->threads[stopped->count++];
    *thread = (struct naht_thread){.id = id};
    return thread;
}

/*
 * A dead thread cannot be seized and never runs again: EPERM with state Z or X is no obstacle (a
 * leader that called pthread_exit stays so while the others live).
 */
static enum naht_outcome seize(
    struct naht_stopped *stopped, struct naht_thread *thread, struct naht_result *result)
{
    if (!naht_ptrace(PTRACE_SEIZE, thread->id, NULL, NULL)) {
        thread->attached = true;
        thread->waiting = naht_thread_state(stopped->pid, thread->id) != 'R';
        return NAHT_DONE;
    }
    int error = errno;
    char state = naht_thread_state(stopped->pid, thread->id);
    if (error == ESRCH || state == 0 || state == 'Z' || state == 'X')
        return NAHT_DONE;
    result->thread = thread->id;
    return naht_fail(result, NAHT_REFUSED, "attach", error);
}

/* Seizes the threads that are not known yet; *found counts them. */
static enum naht_outcome seize_new(
    struct naht_stopped *stopped, size_t *found, struct naht_result *result)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", stopped->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return naht_fail(result, NAHT_GONE, "list threads", errno);
    enum naht_outcome outcome = NAHT_DONE;
    *found = 0;
    size_t place = 0;
    for (struct dirent *entry; outcome == NAHT_DONE && (entry = readdir(tasks));) {
        pid_t id = atoi(entry->d_name);
        if (id <= 0 || is_known(stopped, id, place++))
            continue;
        struct naht_thread *thread = add_thread(stopped, id);
        outcome = thread ? seize(stopped, thread, result)
                         : naht_fail(result, NAHT_FAILED, "allocate", ENOMEM);
        ++*found;
    }
    closedir(tasks);
    return outcome;
}

static void interrupt(struct naht_stopped *stopped, bool only_waiting)
{
    naht_set_urgent(true);
    if (!stopped->first_stop)
        stopped->first_stop = naht_now();
    for (size_t i = 0; i < stopped->count; i++) {
        struct naht_thread *thread = &stopped->threads[i];
        if (thread->attached && !thread->stopped && (thread->waiting || !only_waiting))
            naht_ptrace(PTRACE_INTERRUPT, thread->id, NULL, NULL);
    }
    naht_set_urgent(false); /* threads on our own processor must run to stop */
}

static enum naht_outcome wait_stopped(struct naht_stopped *stopped, bool only_waiting,
    uint64_t deadline, struct naht_result *result)
{
    /* From the last on: when that one has stopped, nearly all others have, and need no wait. */
    for (size_t i = stopped->count; i--;) {
        struct naht_thread *thread = &stopped->threads[i];
        if (!thread->attached || thread->stopped || (only_waiting && !thread->waiting))
            continue;
        struct naht_stop_report report;
        int error = naht_wait_stop(stopped->pid, thread->id, deadline, &report);
        if (error) {
            result->thread = thread->id;
            return naht_fail(result, NAHT_UNSTOPPABLE, "stop", error);
        }
        thread->attached = thread->stopped = !report.gone;
        thread->signal = report.signal;
        if (!report.gone && naht_get_registers(thread->id, &report, &thread->registers)) {
            /* Killed while stopped (SIGKILL, exec by another thread): it never runs on. */
            thread->attached = thread->stopped = false;
        }
    }
    return NAHT_DONE;
}

enum naht_outcome naht_seize_all(struct naht_stopped *stopped, struct naht_result *result)
{
    size_t found = 1, rounds = 0;
    enum naht_outcome outcome = NAHT_DONE;
    while (outcome == NAHT_DONE && found) {
        outcome = seize_new(stopped, &found, result);
        if (outcome == NAHT_DONE && ++rounds > 1000)
            outcome = naht_fail(result, NAHT_UNSTOPPABLE, "seize", EAGAIN);
    }
    return outcome;
}

/*
 * Threads that wait are stopped first, and their stacks can be read while the others still run: those
 * feel the last part of the stop only. A stopped thread's return addresses do not change.
 */
enum naht_outcome naht_stop_waiting(
    struct naht_stopped *stopped, uint64_t deadline, struct naht_result *result)
{
    interrupt(stopped, true);
    return wait_stopped(stopped, true, deadline, result);
}

/* A thread can only be made by a running one: when all are stopped, no new one appears. */
enum naht_outcome naht_stop_all(
    struct naht_stopped *stopped, uint64_t deadline, struct naht_result *result)
{
    enum naht_outcome outcome = NAHT_DONE;
    for (size_t found = 1; outcome == NAHT_DONE && found;) {
        interrupt(stopped, false);
        outcome = wait_stopped(stopped, false, deadline, result);
        if (outcome == NAHT_DONE)
            outcome = seize_new(stopped, &found, result);
    }
    naht_set_urgent(true);
    for (size_t i = 0; i < stopped->count; i++)
        result->threads += stopped->threads[i].stopped;
    if (outcome == NAHT_DONE && !result->threads)
        outcome = naht_fail(result, NAHT_GONE, "stop", ESRCH);
    return outcome;
}

/*
 * A thread that stopped for a signal gets that signal now. What cannot be detached here (not
 * stopped yet) is let go by the kernel when the tracing thread ends.
 */
void naht_let_go(struct naht_stopped *stopped)
{
    for (size_t i = 0; i < stopped->count; i++) {
        struct naht_thread *thread = &stopped->threads[i];
        if (thread->stopped)
            naht_ptrace(PTRACE_DETACH, thread->id, NULL, (void *)(long)thread->signal);
    }
    stopped->last_resume = naht_now();
    free(stopped->threads);
    stopped->threads = NULL;
    stopped->count = stopped->capacity = 0;
}
