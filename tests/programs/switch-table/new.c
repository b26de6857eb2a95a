#include "case.h"

static volatile long last;

NOINLINE long decode(long n)
{
    switch (n) {
    case 0: last = 1; return 3;
    case 1: last = 2; return last + 40;
    case 2: return last * 5;
    case 3: last = 9; return 11;
    case 4: last--; return 0;
    case 5: return last - 6;
    case 6: last = 3; return 77;
    case 7: return last * last;
    default: return -1;
    }
}

long answer(long n)
{
    return decode(n);
}
