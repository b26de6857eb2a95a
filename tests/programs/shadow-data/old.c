#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "session.h"

/* "welcome", or "wrong" as often as one likes */
NOINLINE const char *login(struct session *session, long password)
{
    if (password != session->password)
        return "wrong";
    return "welcome";
}

const char *extra(const char *command)
{
    long at = atol(strchr(command, ' ') + 1);
    if (!strncmp(command, "close", 5))
        return close_session(at), "closed";
    if (!sessions[at])
        open_session(at);
    return login(sessions[at], strncmp(command, "good", 4) ? -1 : at * 7);
}

long answer(long n)
{
    return n;
}

/* A session of its own: closed and opened again, it is always let in at first. */
long invariant(long worker)
{
    long at = 8 + worker;
    const char *first, *last = "";
    open_session(at);
    first = login(sessions[at], at * 7);
    for (int i = 0; i < 5; i++)
        last = login(sessions[at], -1);
    close_session(at);
    return strcmp(first, "welcome") != 0 || strcmp(last, "welcome") == 0;
}
