#include "case.h"
#include "session.h"

struct session *open_session(void);

long answer(long n)
{
    return open_session()->level + n;
}
