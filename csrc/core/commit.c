/*
 * The commit: stop all threads, check that everything is as planned, write, let go.
 *
 * Should we die in here, the kernel detaches and resumes every thread. The plan orders its
 * writes so that after each one of them the target is wholly old or wholly new.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct commit {
    const struct naht_commit *plan;
    struct naht_result *result;
};

enum naht_outcome naht_check_expected(
    pid_t pid, const struct naht_bytes *expected, size_t count, struct naht_result *result)
{
    for (size_t i = 0; i < count; i++) {
        const struct naht_bytes *want = &expected[i];
        uint8_t have[4096];
        for (size_t at = 0; at < want->size;) {
            size_t part = want->size - at < sizeof have ? want->size - at : sizeof have;
            size_t got = naht_read(pid, want->address + at, have, part);
            size_t same = 0;
            while (same < got && have[same] == want->data[at + same])
                same++;
            if (same < part) {
                result->address = want->address + at + same;
                return naht_fail(result, NAHT_MISMATCH, "expected bytes", got < part ? EFAULT : 0);
            }
            at += part;
        }
    }
    return NAHT_DONE;
}

static pid_t any_stopped(const struct naht_stopped *stopped)
{
    for (size_t i = 0; i < stopped->count; i++)
        if (stopped->threads[i].stopped)
            return stopped->threads[i].id;
    return 0;
}

static int write_one(int memory, pid_t thread, uint64_t address, const void *data, size_t size)
{
    int error = naht_write_open(memory, address, data, size);
    return error == EIO || error == EPERM || error == EACCES
        ? naht_poke(thread, address, data, size)
        : error;
}

static enum naht_outcome write_all(
    const struct naht_stopped *stopped, const struct naht_commit *plan, struct naht_result *result)
{
    uint8_t before[64];
    size_t done = 0;
    int error = 0, memory = naht_open_memory(plan->pid);
    pid_t thread = any_stopped(stopped);
    uint8_t *old = calloc(plan->write_count + 1, sizeof before);
    if (memory < 0 || !old)
        error = memory < 0 ? errno : ENOMEM;
    for (; !error && done < plan->write_count; done++) {
        const struct naht_bytes *w = &plan->writes[done];
        if (w->size > sizeof before
            || naht_read(plan->pid, w->address, old + done * sizeof before, w->size) != w->size)
            error = EFAULT;
        else
            error = write_one(memory, thread, w->address, w->data, w->size);
        if (error) {
            result->address = w->address;
            break;
        }
    }
    while (error && done--)
        write_one(memory, thread, plan->writes[done].address, old + done * sizeof before,
            plan->writes[done].size);
    if (memory >= 0)
        close(memory);
    free(old);
    return error ? naht_fail(result, NAHT_FAILED, "write", error) : NAHT_DONE;
}

static enum naht_outcome check_and_write(struct naht_stopped *stopped,
    const struct naht_commit *plan, uint8_t *buffer, struct naht_result *result)
{
    enum naht_outcome outcome = naht_check_counters(stopped, plan, result);
    if (outcome == NAHT_DONE)
        outcome = naht_check_expected(plan->pid, plan->expected, plan->expected_count, result);
    if (outcome == NAHT_DONE)
        outcome = naht_check_stacks(stopped, plan, buffer, result);
    if (outcome == NAHT_DONE)
        outcome = naht_check_references(stopped, plan, result);
    return outcome == NAHT_DONE ? write_all(stopped, plan, result) : outcome;
}

static enum naht_outcome stop_and_change(struct naht_stopped *stopped,
    const struct naht_commit *plan, uint8_t *buffer, struct naht_result *result)
{
    enum naht_outcome outcome = naht_seize_all(stopped, result);
    uint64_t deadline = naht_now() + plan->stop_timeout_ns;
    if (outcome == NAHT_DONE)
        outcome = naht_stop_waiting(stopped, deadline, result);
    if (outcome == NAHT_DONE)
        outcome = naht_check_stacks(stopped, plan, buffer, result);
    if (outcome == NAHT_DONE)
        outcome = naht_stop_all(stopped, deadline, result);
    if (outcome == NAHT_DONE && naht_start_time(plan->pid) != plan->start_time)
        outcome = naht_fail(result, NAHT_GONE, "identify", ESRCH);
    return outcome == NAHT_DONE ? check_and_write(stopped, plan, buffer, result) : outcome;
}

static void commit(void *context)
{
    struct commit *job = context;
    struct naht_stopped stopped = {.pid = job->plan->pid};
    struct naht_result *result = job->result;
    uint8_t *buffer = malloc(NAHT_SCAN_BYTES);
    enum naht_outcome outcome = NAHT_DONE;
    if (naht_start_time(job->plan->pid) != job->plan->start_time)
        outcome = naht_fail(result, NAHT_GONE, "identify", ESRCH);
    else if (!buffer)
        outcome = naht_fail(result, NAHT_FAILED, "allocate", ENOMEM);
    if (outcome == NAHT_DONE) {
        memset(buffer, 0, NAHT_SCAN_BYTES); /* or its pages would be faulted in under the stop */
        outcome = stop_and_change(&stopped, job->plan, buffer, result);
        naht_let_go(&stopped);
    }
    if (stopped.first_stop)
        result->pause_ns = stopped.last_resume - stopped.first_stop;
    result->outcome = outcome;
    free(buffer);
}

void naht_commit(const struct naht_commit *plan, struct naht_result *result)
{
    struct commit job = {plan, result};
    *result = (struct naht_result){.outcome = NAHT_FAILED, .step = "start tracer", .error = EAGAIN};
    naht_in_tracer(commit, &job);
    if (result->outcome == NAHT_DONE) {
        result->step = "";
        result->error = 0;
    }
}
