/*
 * Some waits are not restarted by the kernel after a stop, even one without a signal: they return
 * EINTR, which no program asked for (signal(7), "Interruption of system calls by stop signals"). As long as
 * no signal is on its way, such a call is simply made again.
 */
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

/* Waits that did nothing yet when they return EINTR, so that they can be made again. */
static bool can_be_repeated(long number)
{
    static const short calls[] = {
        SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop, SYS_semtimedop,
        SYS_rt_sigtimedwait, SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter,
        /* with a time-out on the socket, or on inotify: */
        SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_accept, SYS_accept4, SYS_recvfrom,
        SYS_recvmsg, SYS_sendto, SYS_sendmsg,
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i] == number)
            return true;
    return false;
}

/* A pending signal, of the thread or the process, is a good reason for EINTR; so is doubt. */
static bool signal_is_pending(pid_t thread)
{
    siginfo_t info;
    struct __ptrace_peeksiginfo_args own = {.nr = 1}, shared = {.nr = 1};
    shared.flags = PTRACE_PEEKSIGINFO_SHARED;
    return naht_ptrace(PTRACE_PEEKSIGINFO, thread, &own, &info) != 0
        || naht_ptrace(PTRACE_PEEKSIGINFO, thread, &shared, &info) != 0;
}

bool naht_repeat_call(pid_t thread, struct user_regs_struct *registers)
{
    if ((int64_t)registers->rax != -EINTR || !can_be_repeated((long)registers->orig_rax)
        || signal_is_pending(thread))
        return false;
    registers->rax = registers->orig_rax;
    registers->rip -= 2; /* the length of `syscall` */
    registers->orig_rax = (uint64_t)-1;
    return true;
}
