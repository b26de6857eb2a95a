/* Reads the seccomp filters of a thread, which the kernel gives to a privileged tracer only. */
#include "internal.h"

#include <errno.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
#define LARGEST_PROGRAM 4096 /* BPF_MAXINSNS */
#define STOP_TIMEOUT_NS 200000000ull

struct request {
    pid_t pid, thread;
    unsigned index;
    void *program;
    size_t limit;
    long result;
};

static void read_filter(void *context)
{
    struct request *r = context;
    struct naht_stop_report report;
    struct user_regs_struct registers;
    r->result = -EIO;
    if (naht_ptrace(PTRACE_SEIZE, r->thread, NULL, NULL)
        || naht_ptrace(PTRACE_INTERRUPT, r->thread, NULL, NULL)) {
        r->result = -errno;
        return;
    }
    int error = naht_wait_stop(r->pid, r->thread, naht_now() + STOP_TIMEOUT_NS, &report);
    if (error || report.gone) {
        r->result = error ? -error : -ESRCH;
        return;
    }
    naht_get_registers(r->thread, &report, &registers);
    void *index = (void *)(unsigned long)r->index;
    long size = naht_ptrace(PTRACE_SECCOMP_GET_FILTER, r->thread, index, NULL);
    if (size > 0 && (size > LARGEST_PROGRAM || (size_t)size > r->limit))
        size = -EFBIG;
    else if (size >= 0)
        size = naht_ptrace(PTRACE_SECCOMP_GET_FILTER, r->thread, index, r->program);
    else
        size = errno == ENOENT ? 0 : -errno;
    r->result = size;
    naht_ptrace(PTRACE_DETACH, r->thread, NULL, (void *)(long)report.signal);
}

long naht_seccomp_filter(pid_t pid, pid_t thread, unsigned index, void *program, size_t limit)
{
    struct request request = {pid, thread, index, program, limit, -EAGAIN};
    naht_in_tracer(read_filter, &request);
    return request.result;
}
