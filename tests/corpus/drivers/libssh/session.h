/* A client and a server in one process, joined by a pair of sockets. */
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <libssh/sftp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct choice {
    const char *exchange, *cipher, *mac;
};
struct pair {
    int fd[2];
    ssh_key key;
    const struct choice *choice;
    int served;
};

static int answer(ssh_session session, struct pair *pair) {
    ssh_message message;
    int authenticated = 0;
    while ((message = ssh_message_get(session))) {
        int type = ssh_message_type(message), subtype = ssh_message_subtype(message);
        if (type == SSH_REQUEST_AUTH && subtype == SSH_AUTH_METHOD_PASSWORD) {
            authenticated = 1;
            ssh_message_auth_reply_success(message, 0);
        } else if (type == SSH_REQUEST_CHANNEL_OPEN && authenticated) {
            ssh_channel channel = ssh_message_channel_request_open_reply_accept(message);
            if (channel) pair->served++;
        } else if (type == SSH_REQUEST_CHANNEL && subtype == SSH_CHANNEL_REQUEST_EXEC) {
            ssh_message_channel_request_reply_success(message);
            pair->served++;
        } else {
            ssh_message_reply_default(message);
        }
        ssh_message_free(message);
    }
    return authenticated;
}

static void *serve(void *argument) {
    struct pair *pair = argument;
    ssh_bind bound = ssh_bind_new();
    ssh_session session = ssh_new();
    int no = 0;
    ssh_bind_options_set(bound, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
    ssh_bind_options_set(bound, SSH_BIND_OPTIONS_IMPORT_KEY, ssh_key_dup(pair->key));
    ssh_bind_options_set(bound, SSH_BIND_OPTIONS_KEY_EXCHANGE, pair->choice->exchange);
    if (ssh_bind_accept_fd(bound, session, pair->fd[1]) == SSH_OK &&
        ssh_handle_key_exchange(session) == SSH_OK)
        answer(session, pair);
    ssh_disconnect(session);
    ssh_free(session);
    ssh_bind_free(bound);
    return NULL;
}

static ssh_session client(struct pair *pair) {
    ssh_session session = ssh_new();
    const struct choice *c = pair->choice;
    int no = 0;
    long seconds = 20;
    ssh_options_set(session, SSH_OPTIONS_HOST, "localhost");
    ssh_options_set(session, SSH_OPTIONS_USER, "user");
    ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
    ssh_options_set(session, SSH_OPTIONS_TIMEOUT, &seconds);
    ssh_options_set(session, SSH_OPTIONS_FD, &pair->fd[0]);
    ssh_options_set(session, SSH_OPTIONS_KEY_EXCHANGE, c->exchange);
    ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, c->cipher);
    ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, c->cipher);
    ssh_options_set(session, SSH_OPTIONS_HMAC_C_S, c->mac);
    ssh_options_set(session, SSH_OPTIONS_HMAC_S_C, c->mac);
    return session;
}
