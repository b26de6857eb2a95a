#include <execinfo.h>

#include "case.h"

/* 1 when `expected`, a return address further out, is among the frames that the unwinder finds. */
NOINLINE long probe(void *expected)
{
    void *frames[64];
    int count = backtrace(frames, 64);
    for (int i = 0; i < count; i++)
        if (frames[i] == expected)
            return 1;
    return 0;
}
