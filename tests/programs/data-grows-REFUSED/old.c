#include "case.h"

long slots[4];

long answer(long n)
{
    slots[n % 4] = n % 4;
    return slots[n % 4];
}
