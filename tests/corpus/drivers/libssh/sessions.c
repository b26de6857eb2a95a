/* Whole sessions with every way of exchanging keys and several ciphers; keys written and read.
 *
 * object: libssh.so.4*
 * link: -l:libssh.so.4
 */
#include "driver.h"

#include "session.h"

static const struct choice choices[] = {
    {"curve25519-sha256", "chacha20-poly1305@openssh.com", "hmac-sha2-256"},
    {"ecdh-sha2-nistp256", "aes256-gcm@openssh.com", "hmac-sha2-256"},
    {"diffie-hellman-group14-sha256", "aes128-ctr", "hmac-sha2-256-etm@openssh.com"},
    {"ecdh-sha2-nistp521", "chacha20-poly1305@openssh.com", "hmac-sha2-512"},
    {"diffie-hellman-group14-sha1", "aes256-ctr", "hmac-sha2-512"},
};
#ifndef CHOICES
#define CHOICES (sizeof choices / sizeof *choices)
#endif
static ssh_key host_key;

static void use(ssh_session session, struct pair *pair) {
    if (ssh_connect(session) != SSH_OK) {
        driver_fail("%s: %s", pair->choice->exchange, ssh_get_error(session));
        return;
    }
    ssh_channel channel = NULL;
    if (ssh_userauth_password(session, NULL, "secret") != SSH_AUTH_SUCCESS ||
        !(channel = ssh_channel_new(session)) || ssh_channel_open_session(channel) != SSH_OK ||
        ssh_channel_request_exec(channel, "true") != SSH_OK)
        driver_fail("%s: %s", pair->choice->cipher, ssh_get_error(session));
    if (channel) ssh_channel_free(channel);
    ssh_disconnect(session);
}

static void whole_session(const struct choice *choice) {
    struct pair pair = {.key = host_key, .choice = choice};
    pthread_t server;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair.fd) ||
        pthread_create(&server, NULL, serve, &pair)) {
        driver_fail("no pair of sockets");
        return;
    }
    ssh_session session = client(&pair);
    use(session, &pair);
    shutdown(pair.fd[0], SHUT_RDWR);
    ssh_free(session);
    close(pair.fd[0]); /* it was given, so it is ours */
    pthread_join(server, NULL);
    if (pair.served != 2) driver_fail("%s: served %d", choice->exchange, pair.served);
}

static void use_keys(void) {
    char *text = NULL, *public = NULL;
    ssh_key again = NULL;
    if (ssh_pki_export_privkey_to_pubkey(host_key, &again) != SSH_OK ||
        ssh_pki_export_pubkey_base64(again, &public) != SSH_OK)
        driver_fail("no public key");
    ssh_string_free_char(public);
    ssh_key_free(again);
    again = NULL;
    if (ssh_pki_export_privkey_base64(host_key, NULL, NULL, NULL, &text) != SSH_OK ||
        ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &again) != SSH_OK ||
        ssh_key_cmp(host_key, again, SSH_KEY_CMP_PRIVATE))
        driver_fail("the key is not read back");
    ssh_string_free_char(text);
    ssh_key_free(again);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void use_legacy(void) {
    ssh_session session = ssh_new();
    ssh_private_key key = privatekey_from_file(session, "/tmp/naht-ssh-key", 0, NULL);
    if (!key) driver_fail("the key is not read from its file");
    else privatekey_free(key);
    ssh_free(session);
}

void setup(void) {
    ssh_init();
    if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &host_key) != SSH_OK ||
        ssh_pki_export_privkey_file(host_key, NULL, NULL, NULL, "/tmp/naht-ssh-key") != SSH_OK)
        driver_fail("no key");
}

void exercise(void) {
    static _Thread_local unsigned round;
    whole_session(&choices[round++ % CHOICES]);
    use_keys();
    use_legacy();
}
