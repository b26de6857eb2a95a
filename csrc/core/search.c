/*
 * Searches registers and writable memory for addresses inside given ranges, at every byte offset. It
 * proves that nothing points into memory that is about to be unmapped.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define PIECE (1u << 20)
#define LOOK 8192 /* pagemap entries per read */
#define MOST_PAGES (1u << 22) /* 16 GiB of address space; sanitizers reserve terabytes */
#define RED_ZONE 128

struct search {
    const struct naht_stopped *stopped;
    const struct naht_commit *plan;
    struct naht_result *result;
    int pagemap;
    uint64_t searched, pages;
    uint64_t *entries; /* LOOK of them */
    uint8_t *buffer; /* PIECE bytes, and before them the last 8 of the piece before */
};

static bool points_inside(const struct naht_commit *plan, uint64_t word)
{
    for (size_t i = 0; i < plan->unreferenced_count; i++)
        if (word - plan->unreferenced[i].start
            < plan->unreferenced[i].end - plan->unreferenced[i].start)
            return true;
    return false;
}

static enum naht_outcome found(struct search *search, pid_t thread, uint64_t at, const char *step)
{
    search->result->thread = thread;
    search->result->address = at;
    return naht_fail(search->result, NAHT_BUSY, step, 0);
}

static enum naht_outcome search_registers(
    struct search *search, const struct naht_thread *thread)
{
    const unsigned long long *word = (const void *)&thread->registers;
    for (size_t i = 0; i < sizeof thread->registers / sizeof *word; i++)
        if (points_inside(search->plan, word[i]))
            return found(search, thread->id, word[i], "register");
    return NAHT_DONE;
}

/*
 * The third byte of a little-endian address is the same for 64 KiB of addresses, which makes
 * memchr a fast filter; each hit is then judged as a whole word.
 */
static const uint8_t *find_pointer(
    const struct naht_commit *plan, const uint8_t *bytes, size_t size)
{
    for (size_t r = 0; r < plan->unreferenced_count; r++) {
        uint64_t first = plan->unreferenced[r].start >> 16;
        uint64_t last = (plan->unreferenced[r].end - 1) >> 16;
        for (uint64_t chunk = first; chunk <= last && chunk < first + 256; chunk++) {
            const uint8_t *end = bytes + size, *hit = bytes + 2;
            for (; hit + 6 <= end; hit++) {
                hit = memchr(hit, (int)(chunk & 0xff), (size_t)(end - 5 - hit));
                if (!hit)
                    break;
                uint64_t word;
                memcpy(&word, hit - 2, 8);
                if (points_inside(plan, word))
                    return hit - 2;
            }
        }
    }
    return NULL;
}

static enum naht_outcome search_run(struct search *search, uint64_t start, uint64_t end)
{
    pid_t pid = search->plan->pid;
    size_t kept = 0;
    while (start < end) {
        size_t size = end - start < PIECE ? (size_t)(end - start) : PIECE;
        size_t got = naht_read(pid, start, search->buffer + kept, size);
        const uint8_t *hit = find_pointer(search->plan, search->buffer, kept + got);
        if (hit)
            return found(search, 0, start - kept + (uint64_t)(hit - search->buffer), "memory");
        if (got < size) { /* such a page holds no pointer that code can use; the next one may */
            start = ((start + got) & -(uint64_t)PAGE) + PAGE;
            kept = 0;
            continue;
        }
        size_t keep = kept + size < 7 ? kept + size : 7;
        memmove(search->buffer, search->buffer + kept + size - keep, keep);
        kept = keep;
        start += size;
    }
    return NAHT_DONE;
}

/*
 * The next run of pages with content from *at on; both ends are set, and equal at the end of the mapping.
 * Pages that are neither present nor swapped (bits 63 and 62 of a pagemap entry) were never
 * written.
 */
static enum naht_outcome next_run(
    struct search *search, uint64_t *at, uint64_t *end, uint64_t mapping_end)
{
    bool inside = false;
    for (*end = *at; *end < mapping_end;) {
        uint64_t left = (mapping_end - 1) / PAGE - *end / PAGE + 1;
        size_t count = left < LOOK ? (size_t)left : LOOK;
        search->pages += count;
        if (search->pages > MOST_PAGES)
            return naht_fail(search->result, NAHT_REFUSED, "memory limit", EFBIG);
        off_t offset = (off_t)(*end / PAGE * 8);
        if (pread(search->pagemap, search->entries, count * 8, offset) != (ssize_t)(count * 8))
            return naht_fail(search->result, NAHT_REFUSED, "read pagemap", EIO);
        for (size_t i = 0; i < count; i++, *end = (*end & -(uint64_t)PAGE) + PAGE) {
            bool content = search->entries[i] >> 62;
            if (inside && !content)
                return NAHT_DONE;
            if (!inside && content)
                *at = *end;
            inside = content;
        }
    }
    *end = mapping_end;
    if (!inside)
        *at = mapping_end;
    return NAHT_DONE;
}

/*
 * Below the stack pointers of the threads that have their home here lies only what dead frames left,
 * which no code can reach.
 */
static uint64_t live_start(const struct search *search, const struct naht_mapping *mapping)
{
    uint64_t lowest = mapping->end;
    bool home = false;
    for (size_t i = 0; i < search->stopped->count; i++) {
        const struct naht_thread *thread = &search->stopped->threads[i];
        uint64_t sp = thread->registers.rsp, base = thread->registers.fs_base;
        if (!thread->stopped || sp < mapping->start || sp >= mapping->end)
            continue;
        if (sp < lowest)
            lowest = sp;
        home = home || (mapping->start <= base && base < mapping->end)
            || (thread->id == search->plan->pid && search->plan->main_stack_end == mapping->end);
    }
    return home && lowest - mapping->start > RED_ZONE ? (lowest - RED_ZONE) & ~7ull
                                                      : mapping->start;
}

static enum naht_outcome search_mapping(
    struct search *search, const struct naht_mapping *mapping)
{
    uint64_t at = live_start(search, mapping), end;
    enum naht_outcome outcome = NAHT_DONE;
    while (at < mapping->end && outcome == NAHT_DONE) {
        outcome = next_run(search, &at, &end, mapping->end);
        if (outcome != NAHT_DONE)
            break;
        search->searched += end - at;
        if (search->searched > search->plan->scan_limit)
            return naht_fail(search->result, NAHT_REFUSED, "memory limit", EFBIG);
        outcome = search_run(search, at, end);
        at = end;
    }
    return outcome;
}

static enum naht_outcome search_memory(struct search *search)
{
    struct naht_mapping *mappings;
    long count = naht_read_mappings(search->plan->pid, &mappings);
    enum naht_outcome outcome
        = count < 0 ? naht_fail(search->result, NAHT_GONE, "mappings", ESRCH) : NAHT_DONE;
    for (long i = 0; i < count && outcome == NAHT_DONE; i++)
        if (mappings[i].writable && mappings[i].readable
            && !points_inside(search->plan, mappings[i].start))
            outcome = search_mapping(search, &mappings[i]);
    free(mappings);
    return outcome;
}

enum naht_outcome naht_check_references(
    const struct naht_stopped *stopped, const struct naht_commit *plan, struct naht_result *result)
{
    struct search search = {.stopped = stopped, .plan = plan, .result = result};
    enum naht_outcome outcome = NAHT_DONE;
    if (!plan->unreferenced_count)
        return outcome;
    for (size_t i = 0; i < stopped->count && outcome == NAHT_DONE; i++)
        if (stopped->threads[i].stopped)
            outcome = search_registers(&search, &stopped->threads[i]);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", plan->pid);
    search.pagemap = open(path, O_RDONLY | O_CLOEXEC);
    search.buffer = malloc(PIECE + 8);
    search.entries = malloc(LOOK * sizeof *search.entries);
    if (!search.buffer || !search.entries)
        outcome = naht_fail(result, NAHT_FAILED, "allocate", ENOMEM);
    if (outcome == NAHT_DONE)
        outcome = search_memory(&search);
    free(search.buffer);
    free(search.entries);
    if (search.pagemap >= 0)
        close(search.pagemap);
    return outcome;
}
