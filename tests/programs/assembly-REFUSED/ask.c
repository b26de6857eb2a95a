#include "case.h"

long raise_it(long n);

long answer(long n)
{
    return raise_it(n);
}
