#include "case.h"
#include "session.h"

struct session *open_session(void);

long answer(long n)
{
    struct session *session = open_session();
    session->attempts = 1;
    return session->level + n + session->attempts;
}
