/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: opensc-pkcs11.so libopensc.so.*
 * link: -rdynamic -I/usr/include/PCSC -l:opensc-pkcs11.so -l:libopensc.so.8
 * proves: 04-0494e46.patch 0008-CVE-2023-40660.patch
 */
#include "driver.h"

#include "pkcs11.h"

static struct p15card *p15;

/* The PIN was given before: nothing at all must not do as a PIN now. */
static int empty_pin(void) {
    struct object *pin = NULL;
    sc_pkcs15_get_objects(p15, 0x600, &pin, 1);
    return sc_pkcs15_verify_pin(p15, pin, NULL, 0);
}

/* What the caller learns of the length of a text that does not fit. */
static CK length_told(CK opened) {
    struct mechanism padded = {RSA_PKCS, NULL, 0};
    BYTE text[128] = {0, 2, 3}, clear[128];
    CK small = 2, enough = sizeof clear;
    C_DecryptInit(opened, &padded, rsa_private);
    C_Decrypt(opened, text, sizeof text, clear, &small);
    C_Decrypt(opened, text, sizeof text, clear, &enough);
    return small;
}

void setup(void) {
    static struct parameters parameters = {0, "prove", 0, NULL};
    struct context *context;
    struct sc_card *sc;
    int step = make_token();
    if (step) driver_fail("no token: step %d", step);
    if (sc_context_create(&context, &parameters) ||
        sc_connect_card(sc_ctx_get_reader(context, 0), &sc) || sc_pkcs15_bind(sc, NULL, &p15))
        driver_fail("no card");
}

void exercise(void) {
    CK opened = session(), found[8], count = 0;
    C_FindObjectsInit(opened, NULL, 0);
    C_FindObjects(opened, found, 8, &count);
    C_FindObjectsFinal(opened);
    C_CloseSession(opened);
    if (count < 2) driver_fail("there are %lu objects", count);
}

const char *prove(void) {
    static char line[120];
    CK opened = session();
    snprintf(line, sizeof line, "empty PIN: %d, length told: %lu", empty_pin(),
             length_told(opened));
    C_CloseSession(opened);
    return line;
}
