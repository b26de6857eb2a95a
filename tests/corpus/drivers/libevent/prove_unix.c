/* A client of an HTTP server over AF_UNIX whose own address is long. The server runs in a child: the
 * library's assertion may end it.
 *
 * object: libevent-2.1.so.7*
 * link: -levent
 * proves: CVE-2026-63388.patch
 */
#include "driver.h"

#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT "/tmp/naht-client-with-a-name-that-is-long-enough.%d.%d"
static struct sockaddr_un client;

static int listening(struct sockaddr_un *name) {
    static int count;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(name->sun_path, sizeof name->sun_path, "/tmp/naht.%d.%d", getpid(), count++);
    if (fd < 0 || bind(fd, (struct sockaddr *)name, sizeof *name) || listen(fd, 5)) return -1;
    return fd;
}

static int connected(const struct sockaddr_un *to, int number) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    client = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(client.sun_path, sizeof client.sun_path, CLIENT, getpid(), number);
    unlink(client.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&client, sizeof client) ||
        connect(fd, (const struct sockaddr *)to, sizeof *to))
        return -1;
    return fd;
}

static void answered(struct evhttp_request *request, void *kept) {
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    const struct sockaddr_un *from = (const void *)evhttp_connection_get_addr(connection);
    /* The library cuts the path's first letter off before it keeps it. */
    *(int *)kept = from->sun_family == AF_UNIX && !strcmp(from->sun_path + 1, client.sun_path + 1);
    evhttp_send_reply(request, 200, "OK", NULL);
}

/* How many of two requests, one after the other, came from the address that they came from. */
static int serve(void) {
    struct sockaddr_un name;
    int fd = listening(&name), good = 0;
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    for (int i = 0; i < 2 && fd >= 0; i++) {
        int from = -1, kept = 0;
        if (!i) evhttp_accept_socket(http, fd);
        evhttp_set_gencb(http, answered, &kept);
        if ((from = connected(&name, i)) < 0 || write(from, "GET / HTTP/1.0\r\n\r\n", 18) != 18)
            break;
        for (int rounds = 0; rounds < 100 && !kept; rounds++) {
            event_base_loop(base, EVLOOP_NONBLOCK);
            usleep(1000);
        }
        close(from);
        unlink(client.sun_path);
        good += kept;
    }
    unlink(name.sun_path);
    evhttp_free(http);
    event_base_free(base);
    return good;
}

void exercise(void) {
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    if (!base || !http) driver_fail("no server");
    evhttp_free(http);
    event_base_free(base);
}

const char *prove(void) {
    static char line[60];
    int status = 0;
    pid_t child = fork();
    if (!child) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        _exit(serve());
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return "no child";
    if (WIFEXITED(status))
        snprintf(line, sizeof line, "%d of 2 addresses are kept", WEXITSTATUS(status));
    else
        snprintf(line, sizeof line, "the server ends");
    return line;
}
