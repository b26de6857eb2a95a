#include "line_log.h"

long first(long n), second(long n), third(long n), fourth(long n);

long answer(long n)
{
    return first(n) + second(n) + third(n) + fourth(n);
}
