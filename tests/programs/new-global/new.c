#include "case.h"

long scale(long n);
long limited(long n);
extern long highest;

long answer(long n)
{
    return scale(n > highest ? limited(n) : n);
}
