/* The PKCS #11 module with a token on a card of our own: sessions, objects, ciphers.
 *
 * object: opensc-pkcs11.so libopensc.so.*
 * link: -rdynamic -I/usr/include/PCSC -l:opensc-pkcs11.so -l:libopensc.so.8
 */
#include "driver.h"

#include "pkcs11.h"

#include <pthread.h>

static void decrypt(CK opened) {
    struct mechanism padded = {RSA_PKCS, NULL, 0}, raw = {RSA_RAW, NULL, 0};
    BYTE text[128] = {0, 2, 3}, clear[256];
    CK length = sizeof clear, small = 2;
    if (C_DecryptInit(opened, &padded, rsa_private)) {
        driver_fail("C_DecryptInit");
        return;
    }
    C_Decrypt(opened, text, sizeof text, clear, &small); /* does not end the operation */
    if (C_Decrypt(opened, text, sizeof text, clear, &length) || length != 7)
        driver_fail("C_Decrypt");
    length = sizeof clear;
    C_DecryptInit(opened, &raw, rsa_private);
    C_DecryptUpdate(opened, text, sizeof text, clear, &length);
    length = sizeof clear;
    C_DecryptFinal(opened, clear, &length);
    C_SignInit(opened, &padded, rsa_private);
    length = sizeof clear;
    C_Sign(opened, text, 32, clear, &length);
}

static void use_secret(CK opened) {
    BYTE iv[16] = {0}, text[48], other[64];
    struct mechanism cipher = {AES_CBC_PAD, iv, sizeof iv};
    CK length = sizeof other;
    memset(text, 5, sizeof text);
    if (C_EncryptInit(opened, &cipher, aes_key)) {
        driver_fail("C_EncryptInit");
        return;
    }
    C_Encrypt(opened, text, 40, other, &length);
    length = sizeof other;
    C_DecryptInit(opened, &cipher, aes_key);
    if (C_Decrypt(opened, text, sizeof text, other, &length) || length != 43)
        driver_fail("C_Decrypt with the secret key: %lu", length);
}

static void list_objects(CK opened) {
    CK found[8], count = 0;
    C_FindObjectsInit(opened, NULL, 0);
    C_FindObjects(opened, found, 8, &count);
    C_FindObjectsFinal(opened);
    if (count < 2) driver_fail("there are %lu objects", count);
    for (CK i = 0; i < count; i++) {
        char label[64];
        struct attribute wanted = {LABEL, label, sizeof label};
        C_GetAttributeValue(opened, found[i], &wanted, 1);
    }
}

void setup(void) {
    int step = make_token();
    if (step) driver_fail("no token: step %d", step);
}

void exercise(void) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    BYTE random[16];
    CK opened = session();
    list_objects(opened);
    C_GenerateRandom(opened, random, sizeof random);
    pthread_mutex_lock(&one); /* ciphers on the card are an operation at a time */
    decrypt(opened);
    use_secret(opened);
    pthread_mutex_unlock(&one);
    C_CloseSession(opened);
}
