/* A door that listens on 127.0.0.1. Each line "open WORD" is answered with "welcome" or "go away". */
#include "door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *serve(void *argument)
{
    FILE *stream = fdopen((int)(intptr_t)argument, "r+");
    char line[256];

    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        int opened = strncmp(line, "open ", 5) == 0 && door_opens(line + 5);
        fseek(stream, 0, SEEK_CUR);
        fputs(opened ? "welcome\n" : "go away\n", stream);
        fflush(stream);
    }
    if (stream != NULL)
        fclose(stream);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    address.sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "4711"));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64)) {
        perror("doord");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        pthread_t thread;

        if (client < 0)
            continue;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) == 0)
            pthread_detach(thread);
        else
            close(client);
    }
}
