#include "bench.h"

#define BENCH_RESULT 1

/* 64-byte alignment: the twins must not differ by where they lie in a cache line. Long enough for
 * tools that overwrite more than a 5-byte jump. */
__attribute__((aligned(64))) uint64_t bench_answer(uint64_t x)
{
    x ^= x >> 7;
    x += x << 11;
    return x * 3 + BENCH_RESULT;
}

__attribute__((aligned(64))) uint64_t bench_twin(uint64_t x)
{
    x ^= x >> 7;
    x += x << 11;
    return x * 3 + 1;
}

/* Long enough that a thread which calls it again and again is nearly always inside. */
uint64_t bench_spin(uint64_t rounds)
{
    uint64_t sum = BENCH_RESULT;
    for (uint64_t i = 0; i < rounds; i++)
        __asm__ volatile("imul $3, %0, %0" : "+r"(sum));
    return rounds ? sum : BENCH_RESULT;
}
