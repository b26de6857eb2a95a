/*
 * The core: what happens while threads of a target are stopped, and nothing more.
 *
 * No function leaves a tracer behind: each one attaches from a thread of its own, and when that
 * thread ends, the kernel lets go of whatever is still attached (exit_ptrace in kernel/ptrace.c).
 * Nothing here looks up names, parses ELF or decides policy; the plan comes ready-made.
 */
#ifndef NAHT_CORE_H
#define NAHT_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum naht_outcome {
    NAHT_DONE,
    NAHT_BUSY,        /* a thread or a reference is in the way now; a borrowed one gets no time */
    NAHT_MISMATCH,    /* memory is not what the plan expects */
    NAHT_UNSTOPPABLE, /* a thread did not stop in time; a borrowed one comes back by itself */
    NAHT_GONE,        /* the process exited, or is another one */
    NAHT_REFUSED,     /* the kernel or a limit forbids it */
    NAHT_FAILED,      /* an unexpected error; everything written was taken back */
    NAHT_UNSUITABLE,  /* this thread cannot be borrowed now */
    NAHT_CRASHED,     /* a called function raised a signal */
};

struct naht_bytes {
    uint64_t address;
    const uint8_t *data;
    size_t size;
};

struct naht_range {
    uint64_t start, end;
};

#define NAHT_FRAME_REGISTERS 8 /* rip, rsp, rbp, rbx, r12, r13, r14, r15 */

/* A thread whose stack holds a word that could be a return address into a quiet range. */
struct naht_suspect {
    pid_t thread;
    uint64_t registers[NAHT_FRAME_REGISTERS];
    uint64_t start; /* address of stack[0] */
    uint8_t *stack; /* NULL where no exact judgement is possible */
    size_t size;
};

/*
 * Proof, found offline by exact unwinding, that a thread in exactly this state has no quiet
 * function on its stack: those registers and words that the unwinding depended on.
 */
struct naht_certificate {
    pid_t thread;
    uint64_t registers[NAHT_FRAME_REGISTERS];
    unsigned mask; /* bit n: the n-th register must agree; rip and rsp always do */
    const uint64_t *words; /* pairs of address and value */
    size_t word_count; /* of pairs */
};

struct naht_result {
    enum naht_outcome outcome;
    pid_t thread;
    uint64_t address;
    int error;
    const char *step;
    uint64_t threads;
    uint64_t pause_ns;
    uint64_t stack_bytes;
    struct naht_suspect *suspects;
    size_t suspect_count;
};

struct naht_commit {
    pid_t pid;
    uint64_t start_time; /* field 22 of /proc/PID/stat */
    const struct naht_bytes *expected;
    size_t expected_count;
    const struct naht_bytes *writes; /* none crosses a page */
    size_t write_count;
    const struct naht_range *quiet; /* sorted by start, not overlapping */
    size_t quiet_count;
    const struct naht_range *still;
    size_t still_count;
    const struct naht_range *unreferenced;
    size_t unreferenced_count;
    const uint64_t *restorers; /* addresses that a signal frame returns to */
    size_t restorer_count;
    const struct naht_certificate *certificates;
    size_t certificate_count;
    uint64_t main_stack_end;
    uint64_t stop_timeout_ns;
    uint64_t scan_limit; /* bytes of writable memory to search at most */
};

enum naht_call_kind { NAHT_SYSCALL, NAHT_FUNCTION };

struct naht_call {
    enum naht_call_kind kind;
    uint64_t target; /* system call number, or address of the function */
    uint64_t arguments[6];
    int64_t result; /* of a system call; a function's result is not available */
};

#define NAHT_MAX_CHAIN 4

struct naht_calls {
    pid_t pid, thread;
    uint64_t start_time;
    uint64_t syscall_return; /* address of `syscall; ret` */
    uint64_t chain[NAHT_MAX_CHAIN]; /* stack words after whose last `ret` rt_sigreturn runs */
    size_t chain_count;
    const struct naht_bytes *expected; /* looked at while the thread is stopped */
    size_t expected_count;
    struct naht_call *calls;
    size_t call_count;
    size_t finished;
    uint64_t stack_floor, stack_end; /* the stack that the thread was born with */
    uint64_t timeout_ns; /* of the whole loan; of its own time, a thread gets half, at most a second */
};

void naht_commit(const struct naht_commit *plan, struct naht_result *result);
void naht_free_suspects(struct naht_result *result);
void naht_call(struct naht_calls *calls, struct naht_result *result);

/*
 * Returns 0 or an errno. Writes through page protection. `memory` is an open /proc/PID/mem: it
 * stays with the address space that it was opened on, whatever the process executes meanwhile.
 */
int naht_write(int memory, uint64_t address, const void *data, size_t size);

/*
 * Copies the classic BPF program number `index` of the thread's seccomp filters into `program`
 * (room for `limit` instructions of 8 bytes). Returns the number of instructions, 0 when there is no such
 * filter, or a negative errno.
 */
long naht_seccomp_filter(pid_t pid, pid_t thread, unsigned index, void *program, size_t limit);

#endif
