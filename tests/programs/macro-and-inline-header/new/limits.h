#pragma once

#define MOST 120

static inline long clamped(long n)
{
    return n > MOST ? MOST : n + (n < 10);
}

long other(long n);
long unconcerned(long n);
