#include <stdexcept>

#include "case.h"

struct Held {
    long &count;
    explicit Held(long &c) : count(c) { count++; }
    ~Held() { count--; }
};

static thread_local long held;

NOINLINE long parse(long n)
{
    Held one(held);
    if (n > 90)
        throw std::runtime_error("far too long");
    if (n > 10)
        throw 7L;
    return n + held - 1;
}

NOINLINE long guard(long n)
{
    Held two(held);
    try {
        return parse(n) + held - 1;
    } catch (long code) {
        return -code;
    }
}

NOINLINE long outermost(long n)
{
    try {
        return guard(n);
    } catch (const std::exception &) {
        return -1000 - n;
    }
}

long answer(long n)
{
    long found = outermost(n);
    return held ? -1 : found;
}

/* Takes over the freed memory in which the unwinder kept pointers to the frames' tables. */
const char *extra(const char *)
{
    for (int i = 0; i < 8; i++) {
        try {
            throw std::runtime_error("something else");
        } catch (const std::exception &) {
        }
        try {
            throw static_cast<long>(i);
        } catch (long) {
        }
    }
    return "ok";
}
