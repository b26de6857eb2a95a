#include "pinboard.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Reads one request; bytes of the next one stay in `buffer`. 0: connection ended, -1: malformed. */
int http_read_request(int connection, char *buffer, size_t *have, struct request *request)
{
    char *end;
    while ((end = memmem(buffer, *have, "\r\n\r\n", 4)) == NULL) {
        ssize_t got;
        if (*have == REQUEST_LIMIT)
            return -1;
        got = read(connection, buffer + *have, REQUEST_LIMIT - *have);
        if (got <= 0)
            return 0;
        *have += (size_t)got;
    }
    char *path = memmem(buffer, (size_t)(end - buffer), " ", 1);
    char *after = path ? memmem(path + 1, (size_t)(end - path - 1), " ", 1) : NULL;
    if (after == NULL || (size_t)(after - path) > sizeof request->path)
        return -1;
    memcpy(request->path, path + 1, (size_t)(after - path - 1));
    request->path[after - path - 1] = '\0';
    request->keep_alive =
        memmem(buffer, (size_t)(end - buffer), "Connection: close", 17) == NULL;
    *have -= (size_t)(end + 4 - buffer);
    memmove(buffer, end + 4, *have);
    return 1;
}

int http_answer(int connection, int status, const char *body, size_t length)
{
    char head[160];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                        status, status == 200 ? "OK" : "Bad Request", length);
    struct iovec parts[] = {{head, (size_t)size}, {(void *)body, length}};
    return writev(connection, parts, 2) == (ssize_t)((size_t)size + length) ? 0 : -1;
}
