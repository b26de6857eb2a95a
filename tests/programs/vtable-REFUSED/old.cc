#include "case.h"

struct Rule {
    virtual long first(long n) const { return n; }
    virtual long last(long n) const { return n; }
};

static Rule rule;
static Rule *volatile kept = &rule;

long answer(long n)
{
    return kept->first(n) + kept->last(n);
}
