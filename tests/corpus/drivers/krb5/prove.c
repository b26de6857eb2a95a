/* A secret message whose header, which is not secret, says that more of its end is padding.
 *
 * object: libgssapi_krb5.so.2*
 * link: -lgssapi_krb5
 * proves: CVE-2024-37370
 */
#include "driver.h"

#include "realm.h"

static const char *ask(int padding) {
    static _Thread_local char line[60];
    gss_buffer_desc text = {12, "pay 1000 EUR"}, wrapped, clear = GSS_C_EMPTY_BUFFER;
    gss_ctx_id_t user, service;
    OM_uint32 minor;
    if (establish((gss_OID)gss_mech_krb5, &user, &service)) driver_fail("no session");
    gss_wrap(&minor, user, 1, GSS_C_QOP_DEFAULT, &text, NULL, &wrapped);
    ((unsigned char *)wrapped.value)[5] = (unsigned char)padding;
    int refused = gss_unwrap(&minor, service, &wrapped, &clear, NULL, NULL) != 0;
    snprintf(line, sizeof line, "%s '%.*s'", refused ? "refused" : "taken", (int)clear.length,
             clear.value ? (char *)clear.value : "");
    gss_release_buffer(&minor, &clear);
    gss_release_buffer(&minor, &wrapped);
    leave(&user, &service);
    return line;
}

void setup(void) {
    int step = start_realm();
    if (step) driver_fail("no realm: step %d", step);
}

void exercise(void) {
    if (strcmp(ask(0), "taken 'pay 1000 EUR'")) driver_fail("a message");
}

const char *prove(void) { return ask(5); }
