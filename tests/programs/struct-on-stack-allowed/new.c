#include "case.h"

struct request {
    long most;
    long size;
    long seen;
};

NOINLINE long check(struct request *request)
{
    request->seen++;
    return request->size > request->most ? -1 : request->size;
}

NOINLINE long handle(long size)
{
    struct request request = {100, size, 0};
    return check(&request);
}

long answer(long n)
{
    return handle(n);
}

NOINLINE long invariant(long worker)
{
    struct request request = {100, worker, 0};
    return check(&request) != worker || request.seen != 1;
}
