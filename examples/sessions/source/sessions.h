#pragma once

/* A session lives from the first word of its user until "leave". */
struct session {
    struct session *next;
    char user[32];
    long words;
};

const char *answer(struct session *session, const char *word);
struct session *find_session(const char *user);
void end_session(struct session *session);
