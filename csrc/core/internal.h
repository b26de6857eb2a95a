/* What the parts of the core share. Not for the binding. */
#ifndef NAHT_INTERNAL_H
#define NAHT_INTERNAL_H

#include "naht_core.h"

#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>

/* ---- fault.c: where a fault-injection build may die ------------------------------------- */
#ifdef NAHT_FAULT
void naht_step(void);
#else
static inline void naht_step(void) {}
#endif

/* ---- tracer.c: ptrace from a thread of its own ------------------------------------------- */
void naht_in_tracer(void (*work)(void *), void *context);
long naht_ptrace(long request, pid_t thread, void *address, void *data);
uint64_t naht_now(void);
void naht_set_urgent(bool urgent); /* the calling thread's scheduling class */

/* How a stopped thread came to stop; `signal` must be delivered when it is let go. */
struct naht_stop_report {
    bool gone;
    int signal;
    int event; /* PTRACE_EVENT_STOP, a syscall stop (NAHT_SYSCALL_STOP), or 0 for a signal */
};
#define NAHT_SYSCALL_STOP 0x10000 /* no PTRACE_EVENT: PTRACE_EVENT_STOP is 0x80 */

/* Waits for one stop of one thread. Returns 0, ETIMEDOUT, or EBUSY for uninterruptible sleep. */
int naht_wait_stop(pid_t pid, pid_t thread, uint64_t deadline, struct naht_stop_report *report);

/*
 * How long a thread may take that works for us. Time in which it could run and the scheduler had
 * others before it (a loaded host, a throttled group) is no time that it takes; the deadline holds
 * all the same.
 */
struct naht_patience {
    uint64_t left; /* of its own time */
    uint64_t deadline;
    bool sleeps; /* it may sleep uninterruptibly, in a call that we asked for */
    uint64_t seen, ran; /* at the last look: the clock, and its run time */
};
/* Returns 0; ETIMEDOUT when the thread used its time up, EAGAIN when the deadline came first, or EBUSY. */
int naht_wait_patiently(pid_t pid, pid_t thread, struct naht_patience *patience,
    struct naht_stop_report *report);

/* ---- proc.c ------------------------------------------------------------------------------- */
uint64_t naht_start_time(pid_t pid); /* 0 when there is no such process */
char naht_thread_state(pid_t pid, pid_t thread); /* 0 when there is no such thread */
/* Nanoseconds on a processor. False when this kernel does not say. */
bool naht_run_time(pid_t pid, pid_t thread, uint64_t *nanoseconds);

struct naht_mapping {
    uint64_t start, end;
    bool readable, writable;
};
/* Reads /proc/PID/maps. Returns the count, or -1; the caller frees *mappings. */
long naht_read_mappings(pid_t pid, struct naht_mapping **mappings);
const struct naht_mapping *naht_find_mapping(
    const struct naht_mapping *mappings, long count, uint64_t address);

/* ---- memory.c ------------------------------------------------------------------------------ */
int naht_open_memory(pid_t pid);
int naht_write_open(int memory, uint64_t address, const void *data, size_t size);
int naht_poke(pid_t thread, uint64_t address, const void *data, size_t size);
size_t naht_read(pid_t pid, uint64_t address, void *buffer, size_t size); /* bytes read */

/* ---- stop.c -------------------------------------------------------------------------------- */
struct naht_thread {
    pid_t id;
    bool attached, stopped;
    bool waiting; /* it was not running when it was seized */
    bool scanned; /* its stack was looked at since it stopped */
    int signal;
    struct user_regs_struct registers;
};

struct naht_stopped {
    pid_t pid;
    struct naht_thread *threads;
    size_t count, capacity;
    uint64_t first_stop, last_resume;
};

/*
 * Attaches to every thread, then stops those that wait, then all. After anything but NAHT_DONE, let go
 * all the same.
 */
enum naht_outcome naht_seize_all(struct naht_stopped *stopped, struct naht_result *result);
enum naht_outcome naht_stop_waiting(
    struct naht_stopped *stopped, uint64_t deadline, struct naht_result *result);
enum naht_outcome naht_stop_all(
    struct naht_stopped *stopped, uint64_t deadline, struct naht_result *result);
void naht_let_go(struct naht_stopped *stopped);

/* ---- restart.c ------------------------------------------------------------------------------ */
/* The registers of a stopped thread; a wait that our stop alone interrupted will be made again. */
int naht_get_registers(
    pid_t thread, const struct naht_stop_report *report, struct user_regs_struct *registers);
/* Whether the kernel will make the interrupted system call again when the thread goes on. */
bool naht_is_restarted(const struct user_regs_struct *registers);
/* The number of the interrupted call, also where it is restart_syscall's by now. */
uint64_t naht_original_call(pid_t pid, const struct user_regs_struct *registers);

/* ---- suspects.c ------------------------------------------------------------------------------ */
/* Notes a suspect with a copy of its stack [start, end), or without one when start is 0. */
void naht_add_suspect(struct naht_result *result, pid_t pid, const struct naht_thread *thread,
    uint64_t start, uint64_t end);
bool naht_is_certified(const struct naht_commit *plan, const struct naht_thread *thread);

/* ---- commit.c ------------------------------------------------------------------------------ */
enum naht_outcome naht_check_expected(
    pid_t pid, const struct naht_bytes *expected, size_t count, struct naht_result *result);

/* ---- stacks.c, search.c -------------------------------------------------------------------- */
enum naht_outcome naht_check_counters(
    const struct naht_stopped *stopped, const struct naht_commit *plan, struct naht_result *result);
/* Looks at the stacks of stopped threads that were not scanned yet. `buffer` has NAHT_SCAN_BYTES. */
enum naht_outcome naht_check_stacks(struct naht_stopped *stopped, const struct naht_commit *plan,
    uint8_t *buffer, struct naht_result *result);
#define NAHT_SCAN_BYTES (1u << 20)
enum naht_outcome naht_check_references(
    const struct naht_stopped *stopped, const struct naht_commit *plan, struct naht_result *result);

/* ---- frame.c -------------------------------------------------------------------------------- */
/*
 * Builds, in `buffer`, what goes on the thread's stack: return chain, user context, extended
 * state. `address` is where the buffer will be in the target. Returns its size, or 0 when the
 * thread's state cannot be kept in a signal frame.
 */
size_t naht_build_frame(uint8_t *buffer, size_t room, uint64_t address,
    const struct user_regs_struct *registers, uint64_t signal_mask, const uint8_t *extended,
    size_t extended_size, const uint64_t *chain, size_t chain_count);
#define NAHT_FRAME_ROOM 32768

/* The kernel's ERESTART… codes (include/linux/errno.h), which never reach user space. */
#define NAHT_RESTART_SYS 512
#define NAHT_RESTART_NO_INTERRUPT 513
#define NAHT_RESTART_NO_HANDLER 514
#define NAHT_RESTART_BLOCK 516

static inline enum naht_outcome naht_fail(
    struct naht_result *result, enum naht_outcome outcome, const char *step, int error)
{
    result->outcome = outcome;
    result->step = step;
    result->error = error;
    return outcome;
}

#endif
