/* The commands that bring the target into each state. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static const char *verdict(long result)
{
    return result < 0 ? strerror(errno) : "ok";
}

static const char *in_thread(void *(*body)(void *), long argument)
{
    pthread_t thread;
    return pthread_create(&thread, 0, body, (void *)argument) ? "no thread" : "ok";
}

/* A filter that gives `action` to mmap and mprotect and lets everything else pass. */
static const char *filter_mappings(unsigned action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return verdict(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}

static void *serve_in_thread(void *unused)
{
    (void)unused;
    puts("ok");
    fflush(stdout);
    serve(stdin, stdout);
    exit(0);
}

static const char *end_main_thread(void)
{
    in_thread(serve_in_thread, 0);
    syscall(SYS_exit, 0);
    return "unreachable";
}

static void *hold_vfork_child(void *milliseconds)
{
    struct timespec pause = {(long)milliseconds / 1000, (long)milliseconds % 1000 * 1000000};
    pid_t child = vfork();
    if (child == 0) {
        syscall(SYS_nanosleep, &pause, 0);
        _exit(0);
    }
    waitpid(child, 0, 0);
    return 0;
}

static int stay(void *unused)
{
    (void)unused;
    for (;;)
        syscall(SYS_pause);
}

static pid_t sibling;

static const char *share_memory(void)
{
    static char stack[65536];
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sibling = clone(stay, stack + sizeof stack, CLONE_VM | SIGCHLD, 0);
    return verdict(sibling);
}

static const char *end_sibling(void)
{
    if (sibling <= 0)
        return "no sibling";
    kill(sibling, SIGKILL);
    return verdict(waitpid(sibling, 0, 0));
}

static void *do_nothing(void *unused)
{
    return unused;
}

static void *make_threads(void *unused)
{
    for (;;) {
        pthread_t threads[4];
        int made = 0;
        while (made < 4 && pthread_create(&threads[made], 0, do_nothing, 0) == 0)
            made++;
        while (made > 0)
            pthread_join(threads[--made], 0);
        usleep(50);
    }
    return unused;
}

static void *make_processes(void *unused)
{
    for (;;) {
        pid_t child = fork();
        if (child == 0)
            _exit(answer(4) != 40);
        if (child > 0)
            waitpid(child, 0, 0);
    }
    return unused;
}

static const char *limit_address_space(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    int found = statm && fscanf(statm, "%lu", &pages) == 1;
    if (statm)
        fclose(statm);
    struct rlimit limit = {pages * 4096, pages * 4096};
    return found ? verdict(setrlimit(RLIMIT_AS, &limit)) : "no statm";
}

static const char *run_again(void)
{
    execl("/proc/self/exe", "target", "2", NULL);
    return strerror(errno);
}

const char *extra(const char *command)
{
    if (!strcmp(command, "seccomp strict"))
        return verdict(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
    if (!strcmp(command, "seccomp allow"))
        return filter_mappings(SECCOMP_RET_ALLOW);
    if (!strcmp(command, "seccomp errno"))
        return filter_mappings(SECCOMP_RET_ERRNO | EPERM);
    if (!strcmp(command, "seccomp kill"))
        return filter_mappings(SECCOMP_RET_KILL_PROCESS);
    if (!strcmp(command, "mdwe"))
        return verdict(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
    if (!strcmp(command, "undumpable"))
        return verdict(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    if (!strcmp(command, "drop privileges"))
        return verdict(setgid(65534) | setuid(65534));
    if (!strcmp(command, "end main thread"))
        return end_main_thread();
    if (!strncmp(command, "vfork ", 6))
        return in_thread(hold_vfork_child, atol(command + 6));
    if (!strcmp(command, "share memory"))
        return share_memory();
    if (!strcmp(command, "end sibling"))
        return end_sibling();
    if (!strcmp(command, "thread storm"))
        return in_thread(make_threads, 0);
    if (!strcmp(command, "fork storm"))
        return in_thread(make_processes, 0);
    if (!strcmp(command, "limit address space"))
        return limit_address_space();
    if (!strcmp(command, "exec"))
        return run_again();
    return "what?";
}
