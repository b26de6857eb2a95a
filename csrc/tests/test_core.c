/*
 * The core on real children. Each test forks a child that does something watchable, works on it, and looks
 * at what the child became. A child is a copy of this process, so addresses agree.
 */
#include "internal.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);                        \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static int failures, tests;

struct shared {
    atomic_long beats;
    atomic_long faults; /* what the child saw that it should not see */
    atomic_long value;
    atomic_long ready;
};
static struct shared *shared;

static uint64_t syscall_return, signal_return;

static int find_gadgets(struct dl_phdr_info *info, size_t size, void *data)
{
    static const uint8_t call[] = {0x0f, 0x05, 0xc3};
    static const uint8_t restore[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    (void)size, (void)data;
    if (!strstr(info->dlpi_name, "libc.so"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X))
            continue;
        void *text = (void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        size_t length = info->dlpi_phdr[i].p_memsz;
        syscall_return = (uint64_t)memmem(text, length, call, sizeof call);
        signal_return = (uint64_t)memmem(text, length, restore, sizeof restore);
    }
    return 1;
}

static pid_t start(void (*body)(void))
{
    memset(shared, 0, sizeof *shared);
    tests++;
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body();
        _exit(0);
    }
    for (int i = 0; i < 5000 && !shared->ready; i++)
        usleep(1000);
    return child;
}

static void stop(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct naht_commit plan_for(pid_t child)
{
    return (struct naht_commit){.pid = child, .start_time = naht_start_time(child),
        .stop_timeout_ns = 2000000000, .scan_limit = 1u << 30};
}

static uint64_t stack_end(pid_t child)
{
    char path[64], line[512];
    unsigned long start = 0, end = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]"))
            sscanf(line, "%lx-%lx", &start, &end);
    if (maps)
        fclose(maps);
    return end;
}

/* ---- borrowed threads -------------------------------------------------------------------- */

static void sleep_and_watch(void)
{
    shared->ready = 1;
    for (;;) {
        struct timespec nap = {0, 3000000};
        if (nanosleep(&nap, NULL))
            shared->faults++;
        shared->beats++;
    }
}

static void count_in_registers(void)
{
    double sum = 0;
    shared->ready = 1;
    for (unsigned long i = 0;; i++) {
        double before = sum;
        sum += 0.5;
        if (sum - before != 0.5)
            shared->faults++;
        if (sum > 1e9)
            sum = 0;
        if (!(i & 0xffff))
            shared->beats++;
    }
}

/* Waits that the kernel does not restart by itself after a stop. */
static void wait_for_events(void)
{
    int epoll = epoll_create1(0), pair[2];
    struct timeval timeout = {0, 4000};
    struct epoll_event event;
    char byte;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    shared->ready = 1;
    for (;; shared->beats++) {
        if (epoll_wait(epoll, &event, 1, 3) != 0)
            shared->faults++;
        if (recv(pair[0], &byte, 1, 0) != -1 || errno != EAGAIN)
            shared->faults++;
    }
}

static void stops_are_not_seen(void)
{
    pid_t child = start(wait_for_events);
    struct naht_commit plan = plan_for(child);
    struct naht_result result;
    for (int i = 0; i < 60; i++) {
        naht_commit(&plan, &result);
        CHECK(result.outcome == NAHT_DONE);
        usleep(10000 + 100 * (i % 50)); /* a stop starts a time-out afresh */
    }
    CHECK(shared->faults == 0 && shared->beats > 10);
    stop(child);
}

static struct naht_calls calls_for(pid_t child, struct naht_call *calls, size_t count)
{
    return (struct naht_calls){.pid = child, .thread = child,
        .start_time = naht_start_time(child), .syscall_return = syscall_return,
        .chain = {signal_return}, .chain_count = 1, .calls = calls, .call_count = count,
        .stack_floor = 65536, .stack_end = 1ull << 47, .timeout_ns = 1000000000};
}

static void borrow_many_times(void (*body)(void))
{
    pid_t child = start(body);
    for (int i = 0; i < 300; i++) {
        struct naht_call map[] = {
            {NAHT_SYSCALL, SYS_getpid, {0}, 0},
            {NAHT_SYSCALL, SYS_mmap, {0, 4096, PROT_READ, 0x22, (uint64_t)-1, 0}, 0},
        };
        struct naht_calls calls = calls_for(child, map, 2);
        struct naht_result result;
        naht_call(&calls, &result);
        CHECK(result.outcome == NAHT_DONE && calls.finished == 2);
        CHECK(map[0].result == child && map[1].result > 0);
        struct naht_call unmap = {NAHT_SYSCALL, SYS_munmap, {(uint64_t)map[1].result, 4096}, -1};
        calls = calls_for(child, &unmap, 1);
        naht_call(&calls, &result);
        CHECK(result.outcome == NAHT_DONE && unmap.result == 0);
    }
    long beats = shared->beats;
    for (int i = 0; i < 2000 && shared->beats == beats; i++)
        usleep(1000);
    CHECK(shared->beats > beats);
    CHECK(shared->faults == 0);
    stop(child);
}

static void set_value(long value) { shared->value = value; }
static void crash(void) { *(volatile int *)8 = 1; }
static void linger(void)
{
    for (;;)
        usleep(1000);
}

static void functions_run_and_return(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call call = {NAHT_FUNCTION, (uint64_t)set_value, {42}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_DONE && shared->value == 42);
    call.target = (uint64_t)crash;
    calls.finished = 0;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_CRASHED && result.error == SIGSEGV);
    call.target = (uint64_t)linger;
    calls.finished = 0;
    calls.timeout_ns = 100000000;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_FAILED);
    long beats = shared->beats;
    usleep(100000);
    CHECK(shared->beats > beats && shared->faults == 0);
    stop(child);
}

/* Its parent cannot be stopped until the child has ended (vfork(2)). */
static void wait_for_a_child(void)
{
    shared->value = 1;
    if (!vfork()) {
        while (shared->value)
            usleep(1000);
        _exit(0);
    }
}

static void a_thread_that_cannot_be_stopped_comes_back_by_itself(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call call = {NAHT_FUNCTION, (uint64_t)wait_for_a_child, {0}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_UNSTOPPABLE && calls.finished == 0);
    long beats = shared->beats;
    CHECK(shared->value == 1);
    shared->value = 0;
    for (int i = 0; i < 5000 && shared->beats < beats + 2; i++)
        usleep(1000);
    CHECK(shared->beats >= beats + 2 && shared->faults == 0);
    call = (struct naht_call){NAHT_SYSCALL, SYS_getpid, {0}, 0};
    calls.finished = 0;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_DONE && call.result == child);
    stop(child);
}

static void stop_and_go_on(void)
{
    kill(getpid(), SIGSTOP);
    kill(getpid(), SIGCONT);
}

static void a_stop_that_is_undone_stays_undone(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call call = {NAHT_FUNCTION, (uint64_t)stop_and_go_on, {0}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_DONE);
    long beats = shared->beats;
    for (int i = 0; i < 2000 && shared->beats == beats; i++)
        usleep(1000);
    CHECK(shared->beats > beats && shared->faults == 0);
    stop(child);
}

static void on_signal(int signal) { shared->value += signal; }

static void wait_for_a_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct epoll_event event;
    int epoll = epoll_create1(0);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    shared->ready = 1;
    for (;; shared->beats++)
        if (epoll_wait(epoll, &event, 1, -1) != -1 || errno != EINTR)
            shared->faults++;
}

static void send_signals(void)
{
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGFPE); /* as a fault, but sent */
}

/* Its handler may have set a flag that the program looks at when the wait ends. */
static void a_signal_meanwhile_ends_the_wait(void)
{
    pid_t child = start(wait_for_a_signal);
    usleep(20000);
    struct naht_call call = {NAHT_FUNCTION, (uint64_t)send_signals, {0}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_DONE);
    for (int i = 0; i < 2000 && (!shared->beats || shared->value < SIGUSR1 + SIGFPE); i++)
        usleep(1000);
    CHECK(shared->beats > 0 && shared->faults == 0);
    CHECK(shared->value == SIGUSR1 + SIGFPE);
    stop(child);
}

static void nothing_runs_where_memory_is_another(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call call = {NAHT_FUNCTION, (uint64_t)set_value, {42}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    const struct naht_bytes expected[] = {{(uint64_t)&tests, (const uint8_t *)"another", 8}};
    calls.expected = expected;
    calls.expected_count = 1;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_MISMATCH && calls.finished == 0 && shared->value == 0);
    stop(child);
}

static void a_failing_call_ends_the_list(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call list[] = {
        {NAHT_SYSCALL, SYS_close, {12345}, 0},
        {NAHT_SYSCALL, SYS_getpid, {0}, 0},
    };
    struct naht_calls calls = calls_for(child, list, 2);
    struct naht_result result;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_DONE && calls.finished == 1 && list[0].result == -EBADF);
    stop(child);
}

static void no_room_below_the_stack_is_no_loan(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_call call = {NAHT_SYSCALL, SYS_getpid, {0}, 0};
    struct naht_calls calls = calls_for(child, &call, 1);
    struct naht_result result;
    calls.stack_floor = 1ull << 46;
    calls.stack_floor += 1ull << 46;
    naht_call(&calls, &result);
    CHECK(result.outcome == NAHT_UNSUITABLE && calls.finished == 0);
    stop(child);
}

/* ---- commits ------------------------------------------------------------------------------- */

__attribute__((noinline, noipa, no_sanitize("address", "undefined"), aligned(64))) int answer(void)
{
    return 1;
}

static void call_answer(void)
{
    shared->ready = 1;
    for (;;) {
        shared->value = answer();
        shared->beats++;
        usleep(500);
    }
}

static void a_commit_changes_code(void)
{
    static const uint8_t two[] = {0xb8, 2, 0, 0, 0}; /* mov $2,%eax */
    uint8_t old[5], wrong[5] = {0};
    memcpy(old, (void *)(uintptr_t)answer, 5);
    pid_t child = start(call_answer);
    struct naht_bytes expected = {(uint64_t)answer, wrong, 5}, write = {(uint64_t)answer, two, 5};
    struct naht_range inside = {(uint64_t)answer + 1, (uint64_t)answer + 5};
    struct naht_commit plan = plan_for(child);
    struct naht_result result;
    plan.expected = &expected, plan.expected_count = 1;
    plan.writes = &write, plan.write_count = 1;
    plan.still = &inside, plan.still_count = 1;
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_MISMATCH && result.address == (uint64_t)answer);
    usleep(20000);
    CHECK(shared->value == 1);
    expected.data = old;
    for (int i = 0; i < 100 && (naht_commit(&plan, &result), result.outcome == NAHT_BUSY); i++)
        usleep(100);
    CHECK(result.outcome == NAHT_DONE && result.threads == 1 && result.pause_ns > 0);
    usleep(20000);
    CHECK(shared->value == 2);
    stop(child);
}

__attribute__((noinline, noipa, no_sanitize("address", "undefined"))) static void stay_inside(void)
{
    shared->ready = 1;
    for (;;)
        usleep(1000);
}

static void in_a_function(void)
{
    stay_inside();
    shared->faults++;
}

static struct naht_commit quiet_plan(pid_t child, struct naht_range *range, void (*function)(void))
{
    struct naht_commit plan = plan_for(child);
    *range = (struct naht_range){(uint64_t)function, (uint64_t)function + 64};
    plan.quiet = range, plan.quiet_count = 1;
    plan.main_stack_end = stack_end(child);
    plan.restorers = &signal_return, plan.restorer_count = 1;
    return plan;
}

/* A certificate clears a thread in exactly that state, and in no other. */
static void certify(struct naht_commit *plan, const struct naht_result *busy)
{
    const struct naht_suspect *suspect = &busy->suspects[0];
    uint64_t words[2] = {suspect->registers[1], 0};
    struct naht_certificate certificate = {.thread = suspect->thread, .mask = 4, .words = words, .word_count = 1};
    struct naht_result result;
    memcpy(&words[1], suspect->stack + (suspect->registers[1] - suspect->start), 8);
    memcpy(certificate.registers, suspect->registers, sizeof certificate.registers);
    plan->certificates = &certificate, plan->certificate_count = 1;
    naht_commit(plan, &result);
    CHECK(result.outcome == NAHT_DONE && !result.suspect_count);
    certificate.registers[2]++;
    naht_commit(plan, &result);
    CHECK(result.outcome == NAHT_BUSY);
    naht_free_suspects(&result);
    certificate.mask = 0; /* then that register does not matter */
    naht_commit(plan, &result);
    CHECK(result.outcome == NAHT_DONE);
    certificate.registers[2]--;
    words[1]++;
    naht_commit(plan, &result);
    CHECK(result.outcome == NAHT_BUSY);
    naht_free_suspects(&result);
}

static void a_function_on_a_stack_is_busy(void)
{
    pid_t child = start(in_a_function);
    struct naht_range range;
    struct naht_result result;
    struct naht_commit plan = quiet_plan(child, &range, stay_inside);
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_BUSY && result.thread == child);
    CHECK(range.start < result.address && result.address <= range.end);
    CHECK(result.suspect_count == 1 && result.suspects[0].thread == child);
    CHECK(result.suspects[0].size > 0 && result.suspects[0].stack);
    certify(&plan, &result);
    naht_free_suspects(&result);
    plan = quiet_plan(child, &range, sleep_and_watch);
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_DONE && result.stack_bytes > 0);
    stop(child);
}

static void wait_in_handler(int signal)
{
    (void)signal;
    shared->ready = 1;
    for (;;)
        usleep(1000);
}

__attribute__((noinline, noipa, no_sanitize("address", "undefined"))) static void interrupted(void)
{
    raise(SIGUSR1);
    shared->faults++;
}

static void on_another_stack(void)
{
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    struct sigaction action = {.sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    interrupted();
}

static void a_stack_behind_a_signal_frame_is_seen(void)
{
    pid_t child = start(on_another_stack);
    struct naht_range range;
    struct naht_result result;
    struct naht_commit plan = quiet_plan(child, &range, interrupted);
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_BUSY);
    stop(child);
}

/* ---- references ---------------------------------------------------------------------------- */

static uint64_t inverted_page; /* so that the child holds the address nowhere else */
static void *target_page;
static void **volatile holder;

__attribute__((noinline, noipa)) static void make_target(void)
{
    inverted_page = ~(uint64_t)mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void hold_pointer(void)
{
    holder = malloc(64);
    target_page = (void *)(~inverted_page + 4100);
    memcpy((char *)holder + 3, &target_page, 8); /* not even aligned */
    shared->ready = 1;
    while (!shared->value)
        usleep(1000);
    memset((void *)holder, 0, 64);
    target_page = NULL;
    shared->ready = 2;
    for (;;)
        usleep(1000);
}

static void pointers_anywhere_are_found(void)
{
    make_target();
    pid_t child = start(hold_pointer);
    uint64_t page = ~inverted_page;
    struct naht_range range = {page, page + 8192};
    struct naht_commit plan = plan_for(child);
    struct naht_result result;
    plan.unreferenced = &range, plan.unreferenced_count = 1;
    plan.main_stack_end = stack_end(child);
    naht_commit(&plan, &result);
#ifdef __SANITIZE_ADDRESS__
    CHECK(result.outcome == NAHT_REFUSED); /* terabytes of shadow memory are not searched */
#else
    CHECK(result.outcome == NAHT_BUSY && !strcmp(result.step, "memory"));
    shared->value = 1;
    for (int i = 0; i < 2000 && shared->ready != 2; i++)
        usleep(1000);
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_DONE);
#endif
    plan.scan_limit = 4096;
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_REFUSED);
    munmap((void *)page, 8192);
    stop(child);
}

/* ---- who cannot be touched ------------------------------------------------------------------- */

static void another_start_time_is_another_process(void)
{
    pid_t child = start(sleep_and_watch);
    struct naht_commit plan = plan_for(child);
    struct naht_result result;
    plan.start_time++;
    naht_commit(&plan, &result);
    CHECK(result.outcome == NAHT_GONE);
    stop(child);
}

static void count_signals(int signal)
{
    (void)signal;
    shared->value++;
}

static void signalled(void)
{
    struct sigaction action = {.sa_handler = count_signals, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
    shared->ready = 1;
    for (;;)
        pause();
}

static void a_signal_that_arrives_with_the_stop_is_not_lost(void)
{
    pid_t child = start(signalled);
    struct naht_commit plan = plan_for(child);
    struct naht_result result;
    for (int i = 1; i <= 200; i++) {
        kill(child, SIGUSR2);
        naht_commit(&plan, &result);
        CHECK(result.outcome == NAHT_DONE);
        for (int wait = 0; wait < 1000 && shared->value < i; wait++)
            usleep(1000);
        CHECK(shared->value == i);
    }
    stop(child);
}

int main(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    dl_iterate_phdr(find_gadgets, NULL);
    CHECK(syscall_return && signal_return);
    borrow_many_times(sleep_and_watch);
    borrow_many_times(count_in_registers);
    borrow_many_times(wait_for_events);
    stops_are_not_seen();
    functions_run_and_return();
    a_thread_that_cannot_be_stopped_comes_back_by_itself();
    a_stop_that_is_undone_stays_undone();
    a_signal_meanwhile_ends_the_wait();
    nothing_runs_where_memory_is_another();
    a_failing_call_ends_the_list();
    no_room_below_the_stack_is_no_loan();
    a_commit_changes_code();
    a_function_on_a_stack_is_busy();
    a_stack_behind_a_signal_frame_is_seen();
    a_signal_that_arrives_with_the_stop_is_not_lost();
    pointers_anywhere_are_found();
    another_start_time_is_another_process();
    printf("core: %d tests, %d failures\n", tests, failures);
    return failures != 0;
}
