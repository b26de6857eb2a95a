/* Messages that are signed or encrypted (CMS, PKCS #7), and strings of ASN.1.
 *
 * object: libcrypto.so.3*
 * link: -lcrypto
 */
#include "certificate.h"
#include "driver.h"

#include <openssl/asn1.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <string.h>

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
        !CMS_final(cms, in, NULL, CMS_BINARY) || !CMS_decrypt_set1_password(cms, password, 6) ||
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
    if (!p7 || PKCS7_verify(p7, NULL, NULL, NULL, out, PKCS7_NOVERIFY | PKCS7_BINARY) != 1 ||
        !same(out))
        driver_fail("PKCS #7");
    PKCS7_free(p7);
    BIO_free(in);
    BIO_free(out);
}

static void use_strings(void) {
    static const unsigned long kinds[] = {B_ASN1_BMPSTRING, B_ASN1_UNIVERSALSTRING,
                                          B_ASN1_UTF8STRING, B_ASN1_PRINTABLESTRING};
    static const unsigned char utf8[] = "K\xc3\xb6ln", bad[] = "\xff\xfe", plain[] = "plain";
    for (int i = 0; i < 4; i++) {
        ASN1_STRING *made = NULL;
        if (ASN1_mbstring_ncopy(&made, i == 3 ? plain : utf8, -1, MBSTRING_UTF8, kinds[i], 1, 50) <=
            0)
            driver_fail("string %d", i);
        ASN1_STRING_free(made);
        made = NULL;
        if (ASN1_mbstring_ncopy(&made, bad, 2, MBSTRING_UTF8, kinds[i], 1, 50) > 0)
            driver_fail("bad string");
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

void setup(void) {
    if (!make_certificate()) driver_fail("no certificate");
}

void exercise(void) {
    static _Thread_local unsigned round;
    use_strings();
    switch (round++ % 3) {
    case 0: use_password(); break;
    case 1: use_authenticated(); break;
    default: use_signed();
    }
    ERR_clear_error();
}
