#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

/* libbench.so. The fix changes BENCH_RESULT in both `bench_answer` and `bench_spin`; `bench_twin`
 * stays as it is and has the same instructions as `bench_answer`, for comparing what a call costs. */
uint64_t bench_answer(uint64_t x);
uint64_t bench_twin(uint64_t x);
uint64_t bench_spin(uint64_t rounds);

/* One per process, in a file that the bench maps too. All times are CLOCK_MONOTONIC. */
struct slot {
    uint64_t ready;          /* set by the target when all its threads run */
    uint64_t reset;          /* set by the bench, cleared by the target */
    uint64_t longest_gap_ns; /* between two readings of the clock, since the reset */
    uint64_t longest_stop_ns; /* the same less what the thread waited for a CPU meanwhile */
    uint64_t changed_at_ns;  /* first time since the reset that the answer was another one */
    uint64_t answer;         /* bench_answer(0), as of now */
    uint64_t calls;
    uint64_t measure;        /* set by the bench: time so many rounds; cleared when done */
    uint64_t twin_ps;        /* picoseconds per call, median of the rounds */
    uint64_t answer_ps;
};

#endif
