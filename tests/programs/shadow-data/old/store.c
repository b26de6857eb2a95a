#include "memory.h"

#include "case.h"
#include "session.h"

struct session *sessions[SESSIONS];

NOINLINE struct session *open_session(long at)
{
    struct session *session = malloc(sizeof *session);
    session->user = at;
    session->password = at * 7;
    return sessions[at] = session;
}

NOINLINE void close_session(long at)
{
    struct session *session = sessions[at];
    sessions[at] = NULL;
    free(session);
}
