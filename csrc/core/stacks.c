/*
 * Judges program counters and stacks, conservatively: every aligned word of the used stack that
 * could be a return address into a quiet range counts as one. What cannot be read is not quiet.
 *
 * The used stack reaches from the red zone below the stack pointer (128 bytes, psABI 3.2.2) up to the
 * thread's home: for the first thread the end of the stack mapping, for others the thread control block
 * that libc places on top of the stack, which FS points to. Where the memory between is not
 * whole, the thread runs on another stack (sigaltstack, coroutine), and both are scanned.
 *
 * Dead words in live frames make this say "busy" too often. All such suspects of one stop are noted, so that
 * each can be unwound exactly afterwards; with a certificate from there a thread is not scanned.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define RED_ZONE 128
#define LARGEST_STACK (1ull << 30)
#define LARGEST_FOREIGN_SCAN (64ull << 20)
#define BATCH_THREADS 256
#define BATCH_BYTES NAHT_SCAN_BYTES
#define SIGNAL_FRAME_SP 168 /* from the return address of a signal frame to its saved RSP */

struct scan {
    const struct naht_stopped *stopped;
    const struct naht_commit *plan;
    struct naht_result *result;
    struct naht_mapping *mappings; /* read when first needed */
    long mapping_count;
    uint64_t lowest, span; /* hull of the quiet ranges, ends included */
    uint8_t *buffer;
    unsigned depth;
};

static const struct naht_range *range_holding(
    const struct naht_range *ranges, size_t count, uint64_t address, uint64_t beyond)
{
    for (size_t low = 0; low < count;) {
        size_t middle = low + (count - low) / 2;
        if (address < ranges[middle].start)
            count = middle;
        else if (address >= ranges[middle].end + beyond)
            low = middle + 1;
        else
            return &ranges[middle];
    }
    return NULL;
}

enum naht_outcome naht_check_counters(
    const struct naht_stopped *stopped, const struct naht_commit *plan, struct naht_result *result)
{
    for (size_t i = 0; i < stopped->count; i++) {
        const struct naht_thread *thread = &stopped->threads[i];
        uint64_t counter = thread->registers.rip;
        if (!thread->stopped)
            continue;
        if (naht_is_restarted(&thread->registers))
            counter -= 2; /* the length of `syscall`, which runs again */
        if (range_holding(plan->quiet, plan->quiet_count, counter, 0)
            || range_holding(plan->still, plan->still_count, counter, 0)) {
            result->thread = thread->id;
            result->address = counter;
            return naht_fail(result, NAHT_BUSY, "program counter", 0);
        }
    }
    return NAHT_DONE;
}

static enum naht_outcome scan_span(
    struct scan *scan, pid_t thread, uint64_t start, uint64_t end, bool *whole);

static enum naht_outcome hidden_stack(struct scan *scan, pid_t thread, uint64_t address)
{
    scan->result->thread = thread;
    scan->result->address = address;
    return naht_fail(scan->result, NAHT_REFUSED, "find stack", EFAULT);
}

static const struct naht_mapping *mapping_of(struct scan *scan, uint64_t address)
{
    if (!scan->mappings)
        scan->mapping_count = naht_read_mappings(scan->stopped->pid, &scan->mappings);
    return scan->mapping_count > 0
        ? naht_find_mapping(scan->mappings, scan->mapping_count, address)
        : NULL;
}

/* Scans from `start` to the end of its mapping, or to `limit` when that comes first. */
static enum naht_outcome scan_mapping(
    struct scan *scan, pid_t thread, uint64_t start, uint64_t limit)
{
    const struct naht_mapping *mapping = mapping_of(scan, start);
    if (!mapping)
        return hidden_stack(scan, thread, start);
    uint64_t end = mapping->end < limit ? mapping->end : limit;
    bool whole = true;
    if (end - start > LARGEST_FOREIGN_SCAN)
        return hidden_stack(scan, thread, start);
    enum naht_outcome outcome = scan_span(scan, thread, start, end, &whole);
    return outcome == NAHT_DONE && !whole ? hidden_stack(scan, thread, start) : outcome;
}

/* A signal frame on a stack says where the interrupted code's own stack is. */
static enum naht_outcome follow_signal_frame(
    struct scan *scan, pid_t thread, uint64_t frame, uint64_t start, uint64_t end)
{
    uint64_t saved = 0;
    if (naht_read(scan->stopped->pid, frame + SIGNAL_FRAME_SP, &saved, 8) != 8)
        return NAHT_DONE;
    if ((start <= saved && saved < end) || !mapping_of(scan, saved))
        return NAHT_DONE;
    if (scan->depth >= 8)
        return hidden_stack(scan, thread, saved);
    scan->depth++;
    enum naht_outcome outcome = scan_mapping(scan, thread, (saved - RED_ZONE) & ~7ull, UINT64_MAX);
    scan->depth--;
    return outcome;
}

static bool is_restorer(const struct naht_commit *plan, uint64_t word)
{
    for (size_t i = 0; i < plan->restorer_count; i++)
        if (plan->restorers[i] == word)
            return true;
    return false;
}

static enum naht_outcome judge_words(struct scan *scan, pid_t thread, const uint8_t *bytes,
    size_t size, uint64_t at, const struct naht_range *whole)
{
    const struct naht_commit *plan = scan->plan;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        if (word - scan->lowest <= scan->span
            && range_holding(plan->quiet, plan->quiet_count, word, 1)) {
            scan->result->thread = thread;
            scan->result->address = word;
            return naht_fail(scan->result, NAHT_BUSY, "stack", 0);
        }
        if (is_restorer(plan, word)) {
            enum naht_outcome outcome
                = follow_signal_frame(scan, thread, at + i, whole->start, whole->end);
            if (outcome != NAHT_DONE)
                return outcome;
        }
    }
    return NAHT_DONE;
}

/* Reads and judges [start, end) in pieces; *whole says whether all of it could be read. */
static enum naht_outcome scan_span(
    struct scan *scan, pid_t thread, uint64_t start, uint64_t end, bool *whole)
{
    const struct naht_range span = {start, end};
    uint8_t *piece = malloc(BATCH_BYTES);
    enum naht_outcome outcome
        = piece ? NAHT_DONE : naht_fail(scan->result, NAHT_FAILED, "allocate", ENOMEM);
    *whole = true;
    while (outcome == NAHT_DONE && start < end && *whole) {
        size_t size = end - start < BATCH_BYTES ? (size_t)(end - start) : BATCH_BYTES;
        size_t got = naht_read(scan->stopped->pid, start, piece, size);
        *whole = got == size;
        scan->result->stack_bytes += got;
        outcome = judge_words(scan, thread, piece, got, start, &span);
        start += size;
    }
    free(piece);
    return outcome;
}

static uint64_t stack_start(const struct naht_thread *thread)
{
    return (thread->registers.rsp - RED_ZONE) & ~7ull;
}

/* Where the thread's own stack ends, or 0 when it does not run on it. */
static uint64_t home_end(const struct scan *scan, const struct naht_thread *thread)
{
    uint64_t start = stack_start(thread);
    uint64_t end = thread->id == scan->stopped->pid ? scan->plan->main_stack_end
                                                    : thread->registers.fs_base;
    return end > start && end - start <= LARGEST_STACK ? end & ~7ull : 0;
}

/* The thread is off its home stack: scan where it is, and all of its home. */
static enum naht_outcome scan_foreign(struct scan *scan, const struct naht_thread *thread)
{
    enum naht_outcome outcome = scan_mapping(scan, thread->id, stack_start(thread), UINT64_MAX);
    if (outcome != NAHT_DONE)
        return outcome;
    uint64_t top = thread->id == scan->stopped->pid ? scan->plan->main_stack_end
                                                    : thread->registers.fs_base;
    const struct naht_mapping *home = top ? mapping_of(scan, top - 8) : NULL;
    if (!home)
        return hidden_stack(scan, thread->id, top);
    return scan_mapping(scan, thread->id, home->start, top);
}

static enum naht_outcome scan_thread(struct scan *scan, const struct naht_thread *thread)
{
    uint64_t end = home_end(scan, thread);
    bool whole = false;
    enum naht_outcome outcome
        = end ? scan_span(scan, thread->id, stack_start(thread), end, &whole) : NAHT_DONE;
    if (outcome == NAHT_DONE && !whole) {
        outcome = scan_foreign(scan, thread);
        end = 0;
    }
    if (outcome == NAHT_BUSY)
        naht_add_suspect(
            scan->result, scan->stopped->pid, thread, end ? stack_start(thread) : 0, end);
    return outcome;
}

/* One busy thread does not end the scan: the others' suspects are wanted, too. */
static bool goes_on(enum naht_outcome outcome)
{
    return outcome == NAHT_DONE || outcome == NAHT_BUSY;
}

static enum naht_outcome worse(enum naht_outcome one, enum naht_outcome other)
{
    return other == NAHT_DONE ? one : other;
}

/* The threads of one batch whose short stacks are read by one system call. */
struct batch {
    const struct naht_thread *threads[BATCH_THREADS];
    struct iovec remote[BATCH_THREADS];
    size_t count, bytes;
};

static enum naht_outcome judge_batch(struct scan *scan, struct batch *batch)
{
    struct iovec local = {scan->buffer, batch->bytes};
    ssize_t got = batch->count
        ? process_vm_readv(scan->stopped->pid, &local, 1, batch->remote, batch->count, 0)
        : 0;
    size_t at = 0, present = got > 0 ? (size_t)got : 0;
    enum naht_outcome outcome = NAHT_DONE;
    for (size_t i = 0; i < batch->count && goes_on(outcome); i++) {
        size_t size = batch->remote[i].iov_len;
        uint64_t start = (uint64_t)batch->remote[i].iov_base;
        const struct naht_range span = {start, start + size};
        if (at + size <= present) {
            scan->result->stack_bytes += size;
            enum naht_outcome found = judge_words(
                scan, batch->threads[i]->id, scan->buffer + at, size, start, &span);
            if (found == NAHT_BUSY)
                naht_add_suspect(
                    scan->result, scan->stopped->pid, batch->threads[i], start, start + size);
            outcome = worse(outcome, found);
        } else {
            outcome = worse(outcome, scan_thread(scan, batch->threads[i]));
        }
        at += size;
    }
    batch->count = batch->bytes = 0;
    return outcome;
}

static enum naht_outcome scan_all(struct scan *scan)
{
    struct batch batch = {.count = 0};
    enum naht_outcome outcome = NAHT_DONE;
    for (size_t i = 0; i < scan->stopped->count && goes_on(outcome); i++) {
        const struct naht_thread *thread = &scan->stopped->threads[i];
        if (!thread->stopped || thread->scanned || naht_is_certified(scan->plan, thread))
            continue;
        uint64_t start = stack_start(thread), end = home_end(scan, thread);
        if (!end || end - start > BATCH_BYTES) {
            outcome = worse(outcome, scan_thread(scan, thread));
            continue;
        }
        if (batch.count == BATCH_THREADS || batch.bytes + (end - start) > BATCH_BYTES)
            outcome = worse(outcome, judge_batch(scan, &batch));
        batch.threads[batch.count] = thread;
        batch.remote[batch.count++] = (struct iovec){(void *)start, end - start};
        batch.bytes += end - start;
    }
    return goes_on(outcome) ? worse(outcome, judge_batch(scan, &batch)) : outcome;
}

enum naht_outcome naht_check_stacks(struct naht_stopped *stopped, const struct naht_commit *plan,
    uint8_t *buffer, struct naht_result *result)
{
    if (!plan->quiet_count)
        return NAHT_DONE;
    struct scan scan = {.stopped = stopped, .plan = plan, .result = result, .buffer = buffer};
    scan.lowest = plan->quiet[0].start;
    scan.span = plan->quiet[plan->quiet_count - 1].end - scan.lowest;
    enum naht_outcome outcome = scan_all(&scan);
    for (size_t i = 0; i < stopped->count; i++)
        stopped->threads[i].scanned = stopped->threads[i].stopped;
    free(scan.mappings);
    return outcome;
}
