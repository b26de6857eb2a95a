#pragma once

#define MOST 100

static inline long clamped(long n)
{
    return n > MOST ? MOST : n;
}

long other(long n);
long unconcerned(long n);
