#include "case.h"

struct coroutine {
    void *place;
    long count;
};

static struct coroutine only;

NOINLINE long resume(struct coroutine *self, long n)
{
    if (self->place)
        goto *self->place;
    for (self->count = 0;; self->count++) {
        self->place = &&again;
        return self->count + n + 100;
    again:;
    }
}

long answer(long n)
{
    return resume(&only, n);
}
