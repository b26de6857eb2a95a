/* server REQUESTS REPLIES: answers each line "USER WORD" of one pipe on the other one. */
#include <stdio.h>

#include "sessions.h"

int main(int argc, char **argv)
{
    char user[32], word[32];
    if (argc != 3)
        return 2;
    for (;;) {
        FILE *requests = fopen(argv[1], "r");
        while (requests && fscanf(requests, "%31s %31s", user, word) == 2) {
            FILE *replies = fopen(argv[2], "w");
            fprintf(replies, "%s\n", answer(find_session(user), word));
            fclose(replies);
        }
        fclose(requests);
    }
}
