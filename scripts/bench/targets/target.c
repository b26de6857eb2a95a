/* The process that is patched. `target FILE SLOT MODE THREADS`:
 *   beat   one thread reads the clock without rest and calls the function; the others, as in a
 *          server, sleep 200 ms at a time with 4 KiB of stack in use, then call it, too
 *   spin   every thread calls a longer function without rest, but one that watches
 *   sleep  one thread that calls the function every 20 ms
 *   cost   waits to be asked, then times calls of the function and of its unpatched twin
 */
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define ROUND_CALLS 400000u
#define ROUNDS_LIMIT 256u
#define GAP_NS 5000u /* shorter ones are interrupts */

static struct slot *slot;
static uint64_t first_answer;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void rest(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* How long this thread was ready but had no CPU, in all: the second field of schedstat. A thread
 * that a tracer holds is not ready, so this tells a stop from a busy machine. */
static uint64_t waited_for_cpu(int schedstat)
{
    char text[96];
    unsigned long long ran, waited = 0;
    ssize_t size = pread(schedstat, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

static void note_answer(uint64_t answer, uint64_t time)
{
    if (answer != first_answer && slot->changed_at_ns == 0)
        slot->changed_at_ns = time;
    slot->answer = answer;
}

static void reset_when_asked(void)
{
    if (!__atomic_load_n(&slot->reset, __ATOMIC_ACQUIRE))
        return;
    first_answer = bench_answer(0);
    slot->longest_gap_ns = slot->longest_stop_ns = slot->changed_at_ns = slot->calls = 0;
    __atomic_store_n(&slot->reset, 0, __ATOMIC_RELEASE);
}

static void note_gap(uint64_t gap, int schedstat, uint64_t *waited_before)
{
    uint64_t waited = waited_for_cpu(schedstat);
    uint64_t wait = waited - *waited_before;
    uint64_t stop = gap > wait ? gap - wait : 0;
    *waited_before = waited;
    if (gap > slot->longest_gap_ns)
        slot->longest_gap_ns = gap;
    if (stop > slot->longest_stop_ns)
        slot->longest_stop_ns = stop;
}

static void beat(void)
{
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY);
    uint64_t waited = waited_for_cpu(schedstat), before = now();
    for (;;) {
        uint64_t time = now();
        if (time - before > GAP_NS) {
            note_gap(time - before, schedstat, &waited);
            time = now();
        }
        before = time;
        note_answer(bench_answer(0), time);
        slot->calls++;
        if (slot->reset) {
            reset_when_asked();
            waited = waited_for_cpu(schedstat);
            before = now();
        }
    }
}

static void *sleeper(void *argument)
{
    volatile char stack[4096];
    unsigned seed = (unsigned)(uintptr_t)argument;
    memset((void *)stack, 0, sizeof stack);
    for (;;) {
        rest(150 + rand_r(&seed) % 100);
        stack[0] = (char)bench_answer((uint64_t)stack[1]);
    }
    return NULL;
}

static void *spinner(void *argument)
{
    uint64_t mine = 0;
    (void)argument;
    for (;;) {
        mine += bench_spin(200);
        if ((++mine & 1023) == 0)
            __atomic_add_fetch(&slot->calls, 1024, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void watch(long milliseconds)
{
    for (;;) {
        reset_when_asked();
        note_answer(bench_answer(0), now());
        rest(milliseconds);
    }
}

/* One loop for both functions, or the loop's own alignment would be measured. */
__attribute__((noinline, noclone)) static uint64_t time_calls(uint64_t (*function)(uint64_t))
{
    uint64_t value = 0, begin = now();
    for (unsigned i = 0; i < ROUND_CALLS; i++)
        value = function(value);
    __asm__ volatile("" : : "r"(value));
    return (now() - begin) * 1000 / ROUND_CALLS;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The two take turns, so that a change of the clock rate hits both alike. */
static void measure_cost(void)
{
    static uint64_t twin[ROUNDS_LIMIT], answer[ROUNDS_LIMIT];
    for (;;) {
        uint64_t rounds = slot->measure < ROUNDS_LIMIT ? slot->measure : ROUNDS_LIMIT;
        for (uint64_t i = 0; i < rounds; i++) {
            twin[i] = time_calls(bench_twin);
            answer[i] = time_calls(bench_answer);
        }
        if (rounds) {
            qsort(twin, rounds, sizeof *twin, by_value);
            qsort(answer, rounds, sizeof *answer, by_value);
            slot->twin_ps = twin[rounds / 2];
            slot->answer_ps = answer[rounds / 2];
            __atomic_store_n(&slot->measure, 0, __ATOMIC_RELEASE);
        }
        slot->answer = bench_answer(0);
        rest(1);
    }
}

static void start_threads(int count, void *(*work)(void *))
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, work, (void *)(uintptr_t)(i + 1)) != 0) {
            perror("pthread_create");
            exit(1);
        }
    }
}

static struct slot *map_slot(const char *path, long index)
{
    int file = open(path, O_RDWR);
    void *map;
    if (file < 0) {
        perror(path);
        exit(1);
    }
    map = mmap(NULL, (size_t)(index + 1) * sizeof(struct slot), PROT_READ | PROT_WRITE,
               MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return (struct slot *)map + index;
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    slot = map_slot(arguments[1], atol(arguments[2]));
    const char *mode = arguments[3];
    int others = atoi(arguments[4]) - 1;
    first_answer = bench_answer(0);
    start_threads(others, strcmp(mode, "spin") == 0 ? spinner : sleeper);
    slot->answer = first_answer;
    slot->ready = 1;
    if (strcmp(mode, "beat") == 0)
        beat();
    if (strcmp(mode, "cost") == 0)
        measure_cost();
    watch(strcmp(mode, "spin") == 0 ? 1 : 20);
}
