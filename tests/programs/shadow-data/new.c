#include <stdlib.h>
#include <string.h>

#include <naht.h>

#include "case.h"
#include "session.h"
#include "shadow.h"

/* "welcome", "wrong", and after three failures "locked" */
NOINLINE const char *login(struct session *session, long password)
{
    long *failures = naht_shadow_get_or_alloc(session, FAILURES, sizeof *failures, NULL);
    if (!failures || *failures >= 3)
        return "locked";
    if (password != session->password)
        return ++*failures, "wrong";
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
