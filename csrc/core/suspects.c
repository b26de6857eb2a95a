/*
 * Threads that a conservative scan cannot clear: what is handed out for exact unwinding, and the
 * comparison of a stopped thread with a certificate that such an unwinding gave.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define MOST_SUSPECTS 64
#define LARGEST_SNAPSHOT (256u << 10)

static void frame_registers(const struct user_regs_struct *r, uint64_t *to)
{
    const uint64_t registers[NAHT_FRAME_REGISTERS]
        = {r->rip, r->rsp, r->rbp, r->rbx, r->r12, r->r13, r->r14, r->r15};
    memcpy(to, registers, sizeof registers);
}

static void take_snapshot(struct naht_suspect *suspect, pid_t pid, uint64_t start, uint64_t end)
{
    size_t size = end - start;
    suspect->stack = start && size <= LARGEST_SNAPSHOT ? malloc(size) : NULL;
    if (!suspect->stack)
        return;
    suspect->start = start;
    suspect->size = naht_read(pid, start, suspect->stack, size);
}

void naht_add_suspect(struct naht_result *result, pid_t pid, const struct naht_thread *thread,
    uint64_t start, uint64_t end)
{
    if (!result->suspects)
        result->suspects = calloc(MOST_SUSPECTS, sizeof *result->suspects);
    if (!result->suspects || result->suspect_count == MOST_SUSPECTS)
        return;
    struct naht_suspect *suspect = &result->suspects[result->suspect_count++];
    suspect->thread = thread->id;
    frame_registers(&thread->registers, suspect->registers);
    take_snapshot(suspect, pid, start, end);
}

void naht_free_suspects(struct naht_result *result)
{
    for (size_t i = 0; i < result->suspect_count; i++)
        free(result->suspects[i].stack);
    free(result->suspects);
    result->suspects = NULL;
    result->suspect_count = 0;
}

static bool words_agree(pid_t pid, const struct naht_certificate *certificate)
{
    for (size_t i = 0; i < certificate->word_count; i++) {
        uint64_t word;
        if (naht_read(pid, certificate->words[2 * i], &word, 8) != 8
            || word != certificate->words[2 * i + 1])
            return false;
    }
    return true;
}

static bool registers_agree(const struct naht_certificate *certificate, const uint64_t *registers)
{
    for (size_t i = 0; i < NAHT_FRAME_REGISTERS; i++)
        if ((i < 2 || certificate->mask >> i & 1) && certificate->registers[i] != registers[i])
            return false;
    return true;
}

bool naht_is_certified(const struct naht_commit *plan, const struct naht_thread *thread)
{
    uint64_t registers[NAHT_FRAME_REGISTERS];
    frame_registers(&thread->registers, registers);
    for (size_t i = 0; i < plan->certificate_count; i++) {
        const struct naht_certificate *certificate = &plan->certificates[i];
        if (certificate->thread == thread->id && certificate->word_count
            && registers_agree(certificate, registers)
            && words_agree(plan->pid, certificate))
            return true;
    }
    return false;
}
