/*
 * Runs system calls and functions on one borrowed thread, while the others run.
 *
 * Before the thread's registers change, its whole state stands in a signal frame on its own stack, below
 * the red zone, and the stack is laid out so that whatever runs next returns into rt_sigreturn on that
 * frame. The order of every step keeps one promise: should we die, the thread comes back to
 * where it was, with its registers, signal mask and extended state.
 */
#include "internal.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RED_ZONE 128
#define USER_CODE 0x33 /* 64-bit user code segment */
#define SYSCALL_LENGTH 2
#define OWN_TIME 1000000000ull /* that the thread may take for what we ask of it */
#define RETURN_TIME 2000000000ull /* until it must have stopped when it is called off */
#define CALL_ROOM 32768 /* stack that a called function may use */
#define GET_RSEQ_CONFIGURATION 0x420f
#define RSEQ_CRITICAL_SECTION 8 /* offset of rseq_cs in struct rseq */

struct rseq_configuration {
    uint64_t address;
    uint32_t size, signature, flags, padding;
};

struct borrowed {
    struct naht_calls *calls;
    struct naht_result *result;
    struct user_regs_struct registers; /* the thread's own */
    uint64_t original_call; /* that the thread was interrupted in */
    uint64_t signal_mask;
    uint8_t extended[NAHT_FRAME_ROOM];
    size_t extended_size;
    uint64_t frame; /* address of the return chain; the user context follows it */
    struct naht_patience patience;
    int taken_signal; /* it stopped to take this one, and takes it when it is let go */
    uint64_t held_signals; /* sent again when it is let go: bit n for signal n + 1 */
    bool stopped;
    bool ran_function;
    struct naht_stop_report first_stop;
};

static long trace(struct borrowed *b, long request, void *address, void *data)
{
    return naht_ptrace(request, b->calls->thread, address, data);
}

static enum naht_outcome fail(
    struct borrowed *b, enum naht_outcome outcome, const char *step, int error)
{
    b->result->thread = b->calls->thread;
    return naht_fail(b->result, outcome, step, error);
}

static enum naht_outcome wait_stop(struct borrowed *b, struct naht_stop_report *report)
{
    int error = naht_wait_patiently(b->calls->pid, b->calls->thread, &b->patience, report);
    b->stopped = !error && !report->gone;
    if (error)
        return fail(b, error == EAGAIN ? NAHT_BUSY : NAHT_FAILED, "wait", error);
    return report->gone ? fail(b, NAHT_GONE, "wait", ESRCH) : NAHT_DONE;
}

static enum naht_outcome stop_thread(struct borrowed *b)
{
    if (trace(b, PTRACE_SEIZE, NULL, (void *)PTRACE_O_TRACESYSGOOD))
        return fail(b, errno == ESRCH ? NAHT_GONE : NAHT_REFUSED, "attach", errno);
    if (trace(b, PTRACE_INTERRUPT, NULL, NULL))
        return fail(b, NAHT_GONE, "interrupt", errno);
    enum naht_outcome outcome = wait_stop(b, &b->first_stop);
    if (outcome != NAHT_DONE)
        return outcome == NAHT_FAILED ? NAHT_UNSUITABLE : outcome;
    b->patience.sleeps = true;
    b->taken_signal = b->first_stop.signal;
    return b->taken_signal ? fail(b, NAHT_UNSUITABLE, "signal", 0) : NAHT_DONE;
}

/* The kernel aborts a restartable sequence only when it sees the counter inside it. */
static bool in_restartable_sequence(struct borrowed *b)
{
    struct rseq_configuration rseq = {0};
    uint64_t section = 0;
    if (trace(b, GET_RSEQ_CONFIGURATION, (void *)sizeof rseq, &rseq) <= 0 || !rseq.address)
        return false;
    return naht_read(b->calls->pid, rseq.address + RSEQ_CRITICAL_SECTION, &section, 8) != 8
        || section;
}

static enum naht_outcome save_state(struct borrowed *b)
{
    struct iovec extended = {b->extended, sizeof b->extended};
    if (naht_get_registers(b->calls->thread, &b->first_stop, &b->registers)
        || trace(b, PTRACE_GETREGSET, (void *)NT_X86_XSTATE, &extended)
        || trace(b, PTRACE_GETSIGMASK, (void *)sizeof b->signal_mask, &b->signal_mask))
        return fail(b, NAHT_GONE, "save registers", errno);
    b->extended_size = extended.iov_len;
    b->original_call = naht_original_call(b->calls->pid, &b->registers);
    if (b->registers.cs != USER_CODE)
        return fail(b, NAHT_UNSUITABLE, "32-bit code", 0);
    if ((int64_t)b->registers.orig_rax < 0 && in_restartable_sequence(b))
        return fail(b, NAHT_UNSUITABLE, "restartable sequence", 0);
    return NAHT_DONE;
}

/* Puts the frame on the stack; a word before it aligns the stack for functions (psABI 3.2.2). */
static enum naht_outcome place_frame(struct borrowed *b)
{
    uint8_t buffer[8 + NAHT_FRAME_ROOM + 1024] __attribute__((aligned(64)));
    uint64_t room = b->extended_size + 1024;
    b->frame = (b->registers.rsp - RED_ZONE - room) & ~63ull;
    if (b->registers.rsp < b->calls->stack_floor + RED_ZONE + room + CALL_ROOM
        || b->registers.rsp > b->calls->stack_end)
        return fail(b, NAHT_UNSUITABLE, "stack room", ENOMEM);
    struct user_regs_struct registers = b->registers;
    registers.orig_rax = b->original_call;
    size_t size = naht_build_frame(buffer + 8, sizeof buffer - 8, b->frame, &registers,
        b->signal_mask, b->extended, b->extended_size, b->calls->chain, b->calls->chain_count);
    if (!size)
        return fail(b, NAHT_UNSUITABLE, "extended state", 0);
    uint64_t plain_return = b->calls->syscall_return + SYSCALL_LENGTH;
    memcpy(buffer, &plain_return, 8);
    int memory = naht_open_memory(b->calls->pid);
    int error = memory < 0 ? errno : naht_write_open(memory, b->frame - 8, buffer, size + 8);
    if (memory >= 0)
        close(memory);
    return error ? fail(b, NAHT_UNSUITABLE, "write frame", error) : NAHT_DONE;
}

/* Signals that a function itself can raise stay open, so that they reach us as stops. */
static uint64_t borrowed_mask(void)
{
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    uint64_t mask = ~0ull;
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        mask &= ~(1ull << (open[i] - 1));
    return mask;
}

static void set_call(struct borrowed *b, const struct naht_call *call, struct user_regs_struct *r)
{
    const uint64_t *a = call->arguments;
    *r = b->registers;
    r->orig_rax = (uint64_t)-1; /* else the kernel would restart the interrupted call here */
    r->eflags &= ~0x500ull;     /* direction and trap flag */
    r->rdi = a[0], r->rsi = a[1], r->rdx = a[2], r->r8 = a[4], r->r9 = a[5];
    if (call->kind == NAHT_SYSCALL) {
        r->rax = call->target, r->r10 = a[3];
        r->rip = b->calls->syscall_return, r->rsp = b->frame;
    } else {
        r->rax = 0, r->rcx = a[3];
        r->rip = call->target, r->rsp = b->frame - 8;
    }
}

/*
 * The registers change before the mask, and come back after it: with borrowed registers the frame
 * restores the mask, with its own registers nothing would.
 */
static enum naht_outcome lend(struct borrowed *b, const struct naht_call *call)
{
    struct user_regs_struct registers;
    uint64_t mask = borrowed_mask();
    set_call(b, call, &registers);
    if (trace(b, PTRACE_SETREGS, NULL, &registers)
        || trace(b, PTRACE_SETSIGMASK, (void *)sizeof mask, &mask))
        return fail(b, NAHT_GONE, "lend registers", errno);
    return NAHT_DONE;
}

static bool is_fault(int signal)
{
    return signal && !(borrowed_mask() >> (signal - 1) & 1);
}

/* Whether the thread raised it by what it does, and nobody sent it (sigaction(2), si_code). */
static bool is_own_fault(struct borrowed *b, int signal)
{
    siginfo_t info = {0};
    return is_fault(signal) && !trace(b, PTRACE_GETSIGINFO, NULL, &info) && info.si_code > 0;
}

/*
 * Runs on to the next system call stop. SIGSTOP cannot be masked, and must not be held back: a
 * SIGCONT that follows would find nothing to undo. A traced thread can run on in a stopped process.
 */
static enum naht_outcome next_syscall_stop(struct borrowed *b, struct user_regs_struct *registers)
{
    for (long deliver = 0;;) {
        struct naht_stop_report report;
        if (trace(b, PTRACE_SYSCALL, NULL, (void *)deliver))
            return fail(b, NAHT_GONE, "run", errno);
        b->stopped = false;
        enum naht_outcome outcome = wait_stop(b, &report);
        if (outcome != NAHT_DONE)
            return outcome;
        if (is_own_fault(b, report.signal))
            return fail(b, NAHT_CRASHED, "call", report.signal);
        deliver = report.signal == SIGSTOP ? SIGSTOP : 0;
        if (report.signal && !deliver)
            b->held_signals |= 1ull << (report.signal - 1);
        if (report.event == NAHT_SYSCALL_STOP)
            break;
    }
    return trace(b, PTRACE_GETREGS, NULL, registers) ? fail(b, NAHT_GONE, "run", errno)
                                                     : NAHT_DONE;
}

static enum naht_outcome run_syscall(struct borrowed *b, struct naht_call *call)
{
    struct user_regs_struct registers;
    enum naht_outcome outcome = next_syscall_stop(b, &registers);
    if (outcome == NAHT_DONE && registers.orig_rax != call->target)
        return fail(b, NAHT_FAILED, "enter system call", ENOSYS);
    if (outcome == NAHT_DONE)
        outcome = next_syscall_stop(b, &registers);
    call->result = (int64_t)registers.rax;
    return outcome;
}

/*
 * The function's end is the entry of its rt_sigreturn. That call is called off by aiming the
 * thread at the start of the same return chain again, so that it would still be made without us.
 */
static enum naht_outcome run_function(struct borrowed *b)
{
    struct user_regs_struct registers = {0};
    uint64_t context = b->frame + 8 * b->calls->chain_count;
    enum naht_outcome outcome;
    do
        outcome = next_syscall_stop(b, &registers);
    while (outcome == NAHT_DONE
        && !(registers.orig_rax == SYS_rt_sigreturn && registers.rsp == context));
    if (outcome != NAHT_DONE)
        return outcome;
    registers.rip = b->calls->chain[0];
    registers.rsp = b->frame + 8;
    registers.orig_rax = (uint64_t)-1;
    if (trace(b, PTRACE_SETREGS, NULL, &registers))
        return fail(b, NAHT_GONE, "end function", errno);
    return next_syscall_stop(b, &registers);
}

static enum naht_outcome run_calls(struct borrowed *b)
{
    struct naht_calls *calls = b->calls;
    enum naht_outcome outcome = NAHT_DONE;
    while (outcome == NAHT_DONE && calls->finished < calls->call_count) {
        struct naht_call *call = &calls->calls[calls->finished];
        outcome = lend(b, call);
        if (outcome != NAHT_DONE)
            break;
        b->ran_function = b->ran_function || call->kind == NAHT_FUNCTION;
        outcome = call->kind == NAHT_SYSCALL ? run_syscall(b, call) : run_function(b);
        if (outcome != NAHT_DONE)
            break;
        calls->finished++;
        if (call->kind == NAHT_SYSCALL && call->result < 0 && call->result > -4096)
            break;
    }
    return outcome;
}

/*
 * A call that takes too long is cut off: the thread goes back to its own work. One that cannot be
 * stopped even now is let go with the call still to be made: it goes back by way of its frame.
 */
static void stop_again(struct borrowed *b)
{
    struct naht_stop_report report;
    b->patience = (struct naht_patience){
        .left = OWN_TIME, .deadline = naht_now() + RETURN_TIME, .sleeps = true};
    if (!trace(b, PTRACE_INTERRUPT, NULL, NULL)
        && !naht_wait_patiently(b->calls->pid, b->calls->thread, &b->patience, &report))
        b->stopped = !report.gone;
    if (b->stopped && report.signal == SIGSTOP)
        b->taken_signal = SIGSTOP;
}

/*
 * The pending interrupt makes the thread pass through signal handling on its way out, which is
 * where the kernel restarts an interrupted system call; it must be set before the registers, or our
 * death in between would let a kernel-internal restart code reach the program.
 */
static void give_back(struct borrowed *b)
{
    /* A function's own waits overwrite the kernel's restart block: start the call afresh instead. */
    if (b->ran_function && (int64_t)b->registers.orig_rax >= 0
        && (int64_t)b->registers.rax == -NAHT_RESTART_BLOCK) {
        b->registers.orig_rax = b->original_call;
        b->registers.rax = (uint64_t)-NAHT_RESTART_NO_INTERRUPT;
    }
    if (!b->stopped)
        stop_again(b);
    if (!b->stopped)
        return;
    trace(b, PTRACE_SETSIGMASK, (void *)sizeof b->signal_mask, &b->signal_mask);
    trace(b, PTRACE_INTERRUPT, NULL, NULL);
    trace(b, PTRACE_SETREGS, NULL, &b->registers);
}

static void let_go(struct borrowed *b)
{
    if (b->stopped)
        trace(b, PTRACE_DETACH, NULL, (void *)(long)b->taken_signal);
    for (int signal = 1; signal <= 64; signal++)
        if (b->held_signals >> (signal - 1) & 1)
            syscall(SYS_tgkill, b->calls->pid, b->calls->thread, signal);
}

/* One that gets no time may have begun, and hold a lock: it has to end, which takes it little. */
static bool is_in_function(const struct borrowed *b)
{
    const struct naht_calls *calls = b->calls;
    return calls->finished < calls->call_count
        && calls->calls[calls->finished].kind == NAHT_FUNCTION;
}

static enum naht_outcome borrow(struct borrowed *b)
{
    enum naht_outcome outcome = save_state(b);
    /* Another thread may have executed a new program since the addresses were found. */
    if (outcome == NAHT_DONE)
        outcome = naht_check_expected(
            b->calls->pid, b->calls->expected, b->calls->expected_count, b->result);
    if (outcome == NAHT_DONE)
        outcome = place_frame(b);
    if (outcome != NAHT_DONE)
        return outcome;
    outcome = run_calls(b);
    if (outcome != NAHT_BUSY || !is_in_function(b))
        give_back(b);
    return b->stopped || outcome == NAHT_GONE ? outcome
                                              : fail(b, NAHT_UNSTOPPABLE, "give back", EAGAIN);
}

static void call(void *context)
{
    struct borrowed *b = context;
    struct naht_result *result = b->result;
    if (naht_start_time(b->calls->pid) != b->calls->start_time) {
        fail(b, NAHT_GONE, "identify", ESRCH);
        return;
    }
    uint64_t start = naht_now();
    uint64_t half = b->calls->timeout_ns / 2, own = half < OWN_TIME ? half : OWN_TIME;
    b->patience = (struct naht_patience){.left = own, .deadline = start + b->calls->timeout_ns};
    enum naht_outcome outcome = stop_thread(b);
    if (outcome == NAHT_DONE)
        outcome = borrow(b);
    let_go(b);
    result->pause_ns = naht_now() - start;
    result->outcome = outcome;
}

void naht_call(struct naht_calls *calls, struct naht_result *result)
{
    struct borrowed *b = calloc(1, sizeof *b);
    *result = (struct naht_result){.outcome = NAHT_FAILED, .step = "start tracer", .error = EAGAIN};
    if (!b)
        return;
    b->calls = calls;
    b->result = result;
    naht_in_tracer(call, b);
    if (result->outcome == NAHT_DONE) {
        result->step = "";
        result->error = 0;
    }
    free(b);
}
