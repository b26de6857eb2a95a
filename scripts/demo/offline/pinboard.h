/* pinboard: a small threaded HTTP server that reads short notes back to its visitors. */
#ifndef PINBOARD_H
#define PINBOARD_H

#include <stddef.h>

#define REQUEST_LIMIT 8192
#define NOTE_LIMIT 2048

struct request {
    char path[NOTE_LIMIT + 64];
    int keep_alive;
};

/* notes.c: a request's note is kept in a slot; slots are used again, the last one first. */
struct slot {
    struct slot *next;
    char note[NOTE_LIMIT];
};

struct slot *slot_take(void);
void slot_give_back(struct slot *slot);
int note_read_back(const char *path, struct slot *slot, const char **answer, size_t *length);

/* http.c */
int http_read_request(int connection, char *buffer, size_t *have, struct request *request);
int http_answer(int connection, int status, const char *body, size_t length);

#endif
