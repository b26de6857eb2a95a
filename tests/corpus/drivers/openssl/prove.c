/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libcrypto.so.3*
 * link: -lcrypto
 * proves: Match-the-local-q-DHX-parameter-against-the-peer-s-q.patch
 * proves: Apply-the-buffered-IV-on-the-AES-OCB-EVP_Cipher-path.patch
 * proves: Fix-handling-of-empty-ciphertext-messages-in-AES-SIV.patch
 * proves: Reject-potentially-forged-encrypted-CMS-AuthEnvelopedData.patch
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "driver.h"

#include <openssl/bn.h>
#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

static const unsigned char bytes[64] = {7, 1, 2, 3, 4, 5};

/* One call, with two values for what must never repeat. */
static int one_iv_for_all(void) {
    unsigned char first[16], second[16], iv[2][12] = {{1}, {2}};
    unsigned char *out[] = {first, second};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-OCB", NULL);
    for (int i = 0; i < 2; i++) {
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        EVP_EncryptInit_ex2(c, cipher, bytes, iv[i], NULL);
        memset(out[i], i, 16);
        EVP_Cipher(c, out[i], bytes, 16);
        EVP_CIPHER_CTX_free(c);
    }
    EVP_CIPHER_free(cipher);
    return !memcmp(first, second, sizeof first);
}

/* A second message on the same context: no text, and a tag that is not its own. */
static int forged_tag(void) {
    unsigned char secret[16], tag[16], out[16], none[16] = {0};
    int length;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-SIV", NULL);
    EVP_CIPHER_CTX *to = EVP_CIPHER_CTX_new(), *from = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex2(to, cipher, bytes, NULL, NULL);
    EVP_EncryptUpdate(to, secret, &length, bytes, 9);
    EVP_EncryptFinal_ex(to, out, &length);
    EVP_CIPHER_CTX_ctrl(to, EVP_CTRL_AEAD_GET_TAG, 16, tag);
    EVP_DecryptInit_ex2(from, cipher, bytes, NULL, NULL);
    EVP_CIPHER_CTX_ctrl(from, EVP_CTRL_AEAD_SET_TAG, 16, tag);
    EVP_DecryptUpdate(from, out, &length, secret, 9);
    EVP_DecryptFinal_ex(from, out, &length);
    EVP_DecryptInit_ex2(from, NULL, NULL, NULL, NULL);
    EVP_CIPHER_CTX_ctrl(from, EVP_CTRL_AEAD_SET_TAG, 16, none);
    EVP_DecryptUpdate(from, NULL, &length, bytes, 12);
    int accepted = EVP_DecryptFinal_ex(from, out, &length);
    EVP_CIPHER_CTX_free(to);
    EVP_CIPHER_CTX_free(from);
    EVP_CIPHER_free(cipher);
    return accepted;
}

static EVP_PKEY *agreement_key(const BIGNUM *q, const BIGNUM *private_key,
                               const BIGNUM *public_key) {
    EVP_PKEY *key = NULL;
    DH *group = DH_get_2048_256();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "DHX", NULL);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_P, DH_get0_p(group));
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_Q, q ? q : DH_get0_q(group));
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_G, DH_get0_g(group));
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PUB_KEY, public_key);
    if (private_key) OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, private_key);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_fromdata_init(maker);
    EVP_PKEY_fromdata(maker, &key, EVP_PKEY_KEYPAIR, parameters);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(maker);
    DH_free(group);
    return key;
}

/* A peer whose q is another one. */
static int other_group(void) {
    BN_CTX *numbers = BN_CTX_new();
    DH *group = DH_get_2048_256();
    BIGNUM *x = BN_new(), *y = BN_new(), *q = BN_dup(DH_get0_q(group));
    BN_set_word(x, 123456789);
    BN_mod_exp(y, DH_get0_g(group), x, DH_get0_p(group), numbers);
    BN_add_word(q, 2);
    EVP_PKEY *mine = agreement_key(NULL, x, y), *peer = agreement_key(q, NULL, y);
    EVP_PKEY_CTX *deriver = EVP_PKEY_CTX_new(mine, NULL);
    int taken = mine && peer && EVP_PKEY_derive_init(deriver) > 0 &&
                EVP_PKEY_derive_set_peer_ex(deriver, peer, 0) > 0;
    EVP_PKEY_CTX_free(deriver);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(peer);
    BN_free(x), BN_free(y), BN_free(q);
    DH_free(group);
    BN_CTX_free(numbers);
    return taken;
}

static unsigned char *shrink(unsigned char *element, int by) {
    int more = element[1] & 0x80 ? element[1] & 0x7F : 0, length = more ? 0 : element[1];
    for (int i = 0; i < more; i++) length = length << 8 | element[2 + i];
    length -= by;
    for (int i = more; i > 0; i--, length >>= 8) element[1 + i] = (unsigned char)length;
    if (!more) element[1] = (unsigned char)length;
    return element + 2 + more;
}

/* A message with authentication whose tag, the last 16 bytes, has been cut to one. */
static int short_tag(void) {
    unsigned char *der = NULL, kek[16];
    memcpy(kek, bytes, sizeof kek);
    BIO *in = BIO_new_mem_buf(bytes, 20), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = CMS_AuthEnvelopedData_create(EVP_aes_128_gcm());
    CMS_set_detached(cms, 0);
    CMS_add0_recipient_key(cms, NID_undef, OPENSSL_memdup(bytes, 16), 16, OPENSSL_memdup("k", 1), 1,
                           NULL, NULL, NULL);
    CMS_final(cms, in, NULL, CMS_BINARY);
    int size = i2d_CMS_ContentInfo(cms, &der);
    CMS_ContentInfo_free(cms);
    unsigned char *type = shrink(der, 15), *wrapped = type + 2 + type[1];
    shrink(shrink(wrapped, 15), 15);
    shrink(der + size - 18, 15);
    const unsigned char *from = der;
    cms = d2i_CMS_ContentInfo(NULL, &from, size - 15);
    int taken = cms && CMS_decrypt_set1_key(cms, kek, 16, (unsigned char *)"k", 1) &&
                CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY);
    CMS_ContentInfo_free(cms);
    OPENSSL_free(der);
    BIO_free(in);
    BIO_free(out);
    return taken;
}

void exercise(void) {
    if (forged_tag() < 0 || one_iv_for_all() < 0) driver_fail("a cipher");
    ERR_clear_error();
}

const char *prove(void) {
    static char line[120];
    snprintf(line, sizeof line,
             "one IV for all %d, forged tag taken %d, other group taken %d, short tag taken %d",
             one_iv_for_all(), forged_tag(), other_group(), short_tag());
    ERR_clear_error();
    return line;
}
