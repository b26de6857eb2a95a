#include "case.h"

long slots[8];

long answer(long n)
{
    slots[n % 8] = n % 8;
    return slots[n % 8];
}
