/* Two functions that must change together: outer counts a fault when it meets the other's version. */
#ifndef VERSION
#error VERSION is 1 or 2
#endif

extern volatile long faults;

__attribute__((noinline)) static int inner(int x)
{
    __asm__ volatile("" ::: "memory");
    return x * 0 + VERSION;
}

int outer(int x)
{
    int seen = inner(x);
    if (seen != VERSION)
        __atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED);
    return seen;
}
