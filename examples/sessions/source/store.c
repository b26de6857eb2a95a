#include <stdlib.h>
#include <string.h>

#include "sessions.h"

static struct session *all;

struct session *find_session(const char *user)
{
    struct session *session;
    for (session = all; session; session = session->next)
        if (!strcmp(session->user, user))
            return session;
    session = calloc(1, sizeof *session);
    strncpy(session->user, user, sizeof session->user - 1);
    session->next = all;
    return all = session;
}

void end_session(struct session *session)
{
    struct session **at = &all;
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    free(session);
}
