#include "case.h"

struct request {
    long size;
    long seen;
};

NOINLINE long check(struct request *request)
{
    request->seen++;
    return request->size;
}

NOINLINE long handle(long size)
{
    struct request request = {size, 0};
    return check(&request);
}

long answer(long n)
{
    return handle(n);
}

NOINLINE long invariant(long worker)
{
    struct request request = {worker, 0};
    return check(&request) != worker || request.seen != 1;
}
