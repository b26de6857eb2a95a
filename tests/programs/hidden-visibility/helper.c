#include "case.h"

long shared_state = 4;

long helper(long n)
{
    return n * shared_state;
}
