/* Ciphers with authentication, key agreement, and whole TLS sessions in memory.
 *
 * object: libcrypto.so.3* libssl.so.3*
 * link: -lssl -lcrypto
 */
#include "certificate.h"
#include "driver.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

static void use_cipher(const char *name) {
    unsigned char bytes[32] = {1, 2}, iv[12] = {3}, tag[16], secret[64], clear[64];
    int length, rest;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!cipher || !EVP_EncryptInit_ex2(c, cipher, bytes, iv, NULL) ||
        !EVP_EncryptUpdate(c, NULL, &length, iv, sizeof iv) ||
        !EVP_EncryptUpdate(c, secret, &length, (const unsigned char *)text, sizeof text) ||
        !EVP_EncryptFinal_ex(c, secret + length, &rest) ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) <= 0)
        driver_fail("%s", name);
    EVP_CIPHER_CTX_reset(c);
    EVP_DecryptInit_ex2(c, cipher, bytes, iv, NULL);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag);
    EVP_DecryptUpdate(c, NULL, &length, iv, sizeof iv);
    EVP_DecryptUpdate(c, clear, &length, secret, sizeof text);
    if (!EVP_DecryptFinal_ex(c, clear + length, &rest) || memcmp(clear, text, sizeof text))
        driver_fail("%s is not decrypted", name);
    EVP_Cipher(c, clear, secret, 16);
    EVP_CIPHER_CTX_free(c);
    EVP_CIPHER_free(cipher);
}

static void use_agreement(void) {
    unsigned char secret[512];
    size_t size = sizeof secret;
    OSSL_PARAM group[] = {OSSL_PARAM_utf8_string("group", "dh_2048_256", 11), OSSL_PARAM_END};
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "DHX", NULL), *deriver;
    EVP_PKEY *pair = NULL;
    EVP_PKEY_keygen_init(maker);
    EVP_PKEY_CTX_set_params(maker, group);
    EVP_PKEY_keygen(maker, &pair);
    deriver = EVP_PKEY_CTX_new(pair, NULL);
    if (!pair || EVP_PKEY_derive_init(deriver) <= 0 ||
        EVP_PKEY_derive_set_peer(deriver, pair) <= 0 ||
        EVP_PKEY_derive(deriver, secret, &size) <= 0)
        driver_fail("DHX");
    EVP_PKEY_CTX_free(deriver);
    EVP_PKEY_CTX_free(maker);
    EVP_PKEY_free(pair);
}

static void use_tls(void) {
    SSL_CTX *at_server = SSL_CTX_new(TLS_server_method()),
            *at_client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(at_server, certificate);
    SSL_CTX_use_PrivateKey(at_server, key);
    SSL *server = SSL_new(at_server), *client = SSL_new(at_client);
    BIO *one, *other;
    char got[sizeof text] = "";
    BIO_new_bio_pair(&one, 0, &other, 0);
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, other, other);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < 10 && !(SSL_is_init_finished(server) && SSL_is_init_finished(client)); i++)
        SSL_do_handshake(client), SSL_do_handshake(server);
    SSL_write(client, text, sizeof text);
    if (SSL_read(server, got, sizeof got) != sizeof text) driver_fail("TLS");
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(at_server);
    SSL_CTX_free(at_client);
}

void setup(void) {
    if (!make_certificate()) driver_fail("no certificate");
}

void exercise(void) {
    static _Thread_local unsigned round;
    use_cipher("AES-128-OCB");
    use_cipher("AES-128-SIV");
    use_cipher("AES-256-GCM");
    if (round++ % 2) use_agreement();
    else use_tls();
    ERR_clear_error();
}
