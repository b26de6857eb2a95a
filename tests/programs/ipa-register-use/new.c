#include "case.h"

static NOINLINE long callee(long n)
{
    register long si __asm__("rsi") = n, dx __asm__("rdx") = 1, cx __asm__("rcx") = 2,
                  r8 __asm__("r8") = 3;
    __asm__ volatile("lea (%0,%0), %0\n\txor %1, %1\n\txor %2, %2\n\txor %3, %3"
                     : "+r"(si), "+r"(dx), "+r"(cx), "+r"(r8));
    return si + dx + cx + r8;
}

NOINLINE long caller(long n, long a, long b, long c, long d)
{
    long found = callee(n);
    return found + a * 2 + b * 3 + c * 5 + d * 7;
}

long answer(long n)
{
    return caller(n, 50, 100, 66, 67);
}

long invariant(long worker)
{
    long found = answer(worker) - 1199;
    return found != worker * 5 + 3 && found != worker * 2;
}
