#include "pinboard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int answer_one(int connection, const struct request *request)
{
    const char *answer = "not like that\n";
    size_t length = 14;
    struct slot *slot = slot_take();
    int status, sent;
    if (slot == NULL)
        return -1;
    status = note_read_back(request->path, slot, &answer, &length);
    sent = http_answer(connection, status, answer, length);
    slot_give_back(slot);
    return sent;
}

static void *serve(void *argument)
{
    int connection = (int)(intptr_t)argument;
    char buffer[REQUEST_LIMIT];
    struct request request;
    size_t have = 0;
    while (http_read_request(connection, buffer, &have, &request) == 1)
        if (answer_one(connection, &request) != 0 || !request.keep_alive)
            break;
    close(connection);
    return NULL;
}

static int listen_on(unsigned short port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) {
        perror("pinboard");
        exit(1);
    }
    return listener;
}

int main(int count, char **arguments)
{
    int listener = listen_on(count > 1 ? (unsigned short)atoi(arguments[1]) : 8080);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int on = 1, connection = accept(listener, NULL, NULL);
        pthread_t thread;
        if (connection < 0)
            continue;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) != 0)
            close(connection);
        else
            pthread_detach(thread);
    }
}
