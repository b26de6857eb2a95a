/* Messages that are signed or encrypted (CMS, PKCS #7), strings of ASN.1, ciphers with
 * authentication, key agreement, and whole TLS sessions in memory.
 *
 * object: libcrypto.so.3* libssl.so.3*
 * link: -lssl -lcrypto
 */
#include "driver.h"

#include <openssl/asn1.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

static EVP_PKEY *key;
static X509 *certificate;
static const char text[] = "the content of a message";

static int same(BIO *out) {
    char *data;
    long size = BIO_get_mem_data(out, &data);
    return size == sizeof text && !memcmp(data, text, sizeof text);
}

static BIO *content(void) { return BIO_new_mem_buf(text, sizeof text); }

static void use_password(void) {
    BIO *in = content(), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_128_cbc(), CMS_PARTIAL | CMS_BINARY);
    static unsigned char password[] = "secret"; /* not copied, and not freed */
    if (!CMS_add0_recipient_password(cms, -1, NID_undef, NID_undef, password, 6, NULL) ||
        !CMS_final(cms, in, NULL, CMS_BINARY) ||
        !CMS_decrypt_set1_password(cms, password, 6) ||
        !CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) || !same(out))
        driver_fail("CMS with a password");
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    BIO_free(out);
}

static void use_authenticated(void) {
    BIO *in = content(), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = CMS_AuthEnvelopedData_create(EVP_aes_128_gcm());
    unsigned char *der = NULL;
    int made = cms && CMS_set_detached(cms, 0) &&
               CMS_add1_recipient_cert(cms, certificate, CMS_KEY_PARAM) &&
               CMS_final(cms, in, NULL, CMS_BINARY);
    int size = i2d_CMS_ContentInfo(cms, &der);
    const unsigned char *from = der;
    CMS_ContentInfo_free(cms);
    cms = d2i_CMS_ContentInfo(NULL, &from, size);
    if (!made || !CMS_decrypt(cms, key, certificate, NULL, out, CMS_BINARY) || !same(out))
        driver_fail("CMS with authentication");
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    BIO_free(out);
}

static void use_signed(void) {
    BIO *in = content(), *out = BIO_new(BIO_s_mem());
    PKCS7 *p7 = PKCS7_sign(certificate, key, NULL, in, PKCS7_BINARY);
    if (!p7 || PKCS7_verify(p7, NULL, NULL, NULL, out, PKCS7_NOVERIFY | PKCS7_BINARY) != 1 || !same(out))
        driver_fail("PKCS #7");
    PKCS7_free(p7);
    BIO_free(in);
    BIO_free(out);
}

static void use_strings(void) {
    static const unsigned long kinds[] = {B_ASN1_BMPSTRING, B_ASN1_UNIVERSALSTRING, B_ASN1_UTF8STRING,
                                          B_ASN1_PRINTABLESTRING};
    static const unsigned char utf8[] = "K\xc3\xb6ln", bad[] = "\xff\xfe", plain[] = "plain";
    for (int i = 0; i < 4; i++) {
        ASN1_STRING *made = NULL;
        if (ASN1_mbstring_ncopy(&made, i == 3 ? plain : utf8, -1, MBSTRING_UTF8, kinds[i], 1, 50) <= 0)
            driver_fail("string %d", i);
        ASN1_STRING_free(made);
        made = NULL;
        if (ASN1_mbstring_ncopy(&made, bad, 2, MBSTRING_UTF8, kinds[i], 1, 50) > 0) driver_fail("bad string");
        ASN1_STRING_free(made);
    }
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    const unsigned char *from = der;
    X509 *again = d2i_X509(NULL, &from, size);
    if (!again || X509_cmp(again, certificate)) driver_fail("a certificate is not read back");
    X509_free(again);
    OPENSSL_free(der);
}

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
    if (!pair || EVP_PKEY_derive_init(deriver) <= 0 || EVP_PKEY_derive_set_peer(deriver, pair) <= 0 ||
        EVP_PKEY_derive(deriver, secret, &size) <= 0)
        driver_fail("DHX");
    EVP_PKEY_CTX_free(deriver);
    EVP_PKEY_CTX_free(maker);
    EVP_PKEY_free(pair);
}

static void use_tls(void) {
    SSL_CTX *at_server = SSL_CTX_new(TLS_server_method()), *at_client = SSL_CTX_new(TLS_client_method());
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
    key = EVP_RSA_gen(2048);
    certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000000);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"naht", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_set_pubkey(certificate, key);
    if (!X509_sign(certificate, key, EVP_sha256())) driver_fail("no certificate");
}

void exercise(void) {
    static _Thread_local unsigned round;
    use_strings();
    use_cipher("AES-128-OCB");
    use_cipher("AES-128-SIV");
    use_cipher("AES-256-GCM");
    switch (round++ % 5) {
    case 0: use_password(); break;
    case 1: use_authenticated(); break;
    case 2: use_signed(); break;
    case 3: use_agreement(); break;
    default: use_tls();
    }
    ERR_clear_error();
}
