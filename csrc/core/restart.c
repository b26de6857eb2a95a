/*
 * System calls that our stop interrupted: which are made again, and how.
 *
 * Most waits end with a restart code (512 to 516), and the kernel makes them again when no signal
 * handler ran. Some end with EINTR even for a tracer's stop (signal(7), "Interruption of system
 * calls … by stop signals"), which the program would see. Those had no effect yet, so with
 * ERESTARTNOHAND in the place of EINTR the kernel makes them again, too, unless a handler runs.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

static const long waits[] = {
    SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_semop,
    SYS_semtimedop, SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter,
    /* sockets with a time limit (SO_RCVTIMEO, SO_SNDTIMEO), inotify: */
    SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg,
    SYS_sendto, SYS_sendmsg, SYS_accept, SYS_accept4,
};

static bool is_wait(uint64_t call)
{
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        if ((uint64_t)waits[i] == call)
            return true;
    return false;
}

/*
 * Only where the thread stopped for us: it is then inside the kernel's signal handling, which comes
 * to the restart afterwards, even when we die.
 */
int naht_get_registers(
    pid_t thread, const struct naht_stop_report *report, struct user_regs_struct *registers)
{
    if (naht_ptrace(PTRACE_GETREGS, thread, NULL, registers))
        return -1;
    if (report->event != PTRACE_EVENT_STOP || (int64_t)registers->rax != -EINTR
        || !is_wait(registers->orig_rax))
        return 0;
    registers->rax = (uint64_t)-NAHT_RESTART_NO_HANDLER;
    return naht_ptrace(PTRACE_SETREGS, thread, NULL, registers) ? -1 : 0;
}

bool naht_is_restarted(const struct user_regs_struct *registers)
{
    int64_t code = -(int64_t)registers->rax;
    return (int64_t)registers->orig_rax >= 0
        && (code == NAHT_RESTART_SYS || code == NAHT_RESTART_NO_INTERRUPT
            || code == NAHT_RESTART_NO_HANDLER || code == NAHT_RESTART_BLOCK);
}

/*
 * A call that was already restarted once has the number of restart_syscall, which works only as
 * long as the kernel keeps what it noted. The arguments are still there; the true number stands in
 * the code: mov $number,%eax; syscall.
 */
uint64_t naht_original_call(pid_t pid, const struct user_regs_struct *registers)
{
    uint8_t code[7];
    uint32_t number;
    if (registers->orig_rax != SYS_restart_syscall
        || naht_read(pid, registers->rip - sizeof code, code, sizeof code) != sizeof code
        || code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
        return registers->orig_rax;
    memcpy(&number, code + 1, sizeof number);
    return number;
}
