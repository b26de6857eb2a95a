/* Tickets from a centre of our own, sessions directly and negotiated, messages in one piece and in
 * several.
 *
 * object: libgssapi_krb5.so.2* libkrb5.so.3*
 * link: -lgssapi_krb5 -lkrb5
 */
#include "driver.h"

#include "realm.h"

#include <krb5.h>

static gss_OID_desc negotiated = {6, "\x2b\x06\x01\x05\x05\x02"};

static void in_one_piece(gss_ctx_id_t from, gss_ctx_id_t to, int secret) {
    gss_buffer_desc text = {9, "a message"}, wrapped, clear = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    gss_wrap(&minor, from, secret, GSS_C_QOP_DEFAULT, &text, NULL, &wrapped);
    if (gss_unwrap(&minor, to, &wrapped, &clear, NULL, NULL) || clear.length != 9 ||
        memcmp(clear.value, text.value, 9))
        driver_fail("a message of kind %d", secret);
    gss_release_buffer(&minor, &clear);
    gss_release_buffer(&minor, &wrapped);
}

static void in_pieces(gss_ctx_id_t from, gss_ctx_id_t to) {
    char text[] = "a message in pieces";
    OM_uint32 minor;
    gss_iov_buffer_desc pieces[] = {
        {GSS_IOV_BUFFER_TYPE_HEADER | GSS_IOV_BUFFER_FLAG_ALLOCATE, GSS_C_EMPTY_BUFFER},
        {GSS_IOV_BUFFER_TYPE_DATA, {sizeof text, text}},
        {GSS_IOV_BUFFER_TYPE_PADDING | GSS_IOV_BUFFER_FLAG_ALLOCATE, GSS_C_EMPTY_BUFFER},
        {GSS_IOV_BUFFER_TYPE_TRAILER | GSS_IOV_BUFFER_FLAG_ALLOCATE, GSS_C_EMPTY_BUFFER}};
    if (gss_wrap_iov(&minor, from, 1, GSS_C_QOP_DEFAULT, NULL, pieces, 4) ||
        gss_unwrap_iov(&minor, to, NULL, NULL, pieces, 4) || strcmp(text, "a message in pieces"))
        driver_fail("pieces");
    gss_release_iov_buffer(&minor, pieces, 4);
}

static void damaged(gss_ctx_id_t from, gss_ctx_id_t to) {
    gss_buffer_desc text = {9, "a message"}, wrapped, clear = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    gss_wrap(&minor, from, 1, GSS_C_QOP_DEFAULT, &text, NULL, &wrapped);
    ((unsigned char *)wrapped.value)[wrapped.length - 1] ^= 1;
    if (!gss_unwrap(&minor, to, &wrapped, &clear, NULL, NULL))
        driver_fail("a damaged message is taken");
    gss_release_buffer(&minor, &clear);
    gss_release_buffer(&minor, &wrapped);
}

/* A ticket straight from the centre. */
static void ask_for_a_ticket(void) {
    krb5_context context;
    krb5_principal user = NULL;
    krb5_keytab keys = NULL;
    krb5_creds credentials;
    if (krb5_init_context(&context)) {
        driver_fail("no context");
        return;
    }
    krb5_parse_name(context, "user", &user);
    krb5_kt_resolve(context, "FILE:" PLACE "/user.keys", &keys);
    krb5_error_code error =
        krb5_get_init_creds_keytab(context, &credentials, user, keys, 0, NULL, NULL);
    if (error) driver_fail("no ticket: %d", (int)error);
    else krb5_free_cred_contents(context, &credentials);
    krb5_kt_close(context, keys);
    krb5_free_principal(context, user);
    krb5_free_context(context);
}

void setup(void) {
    int step = start_realm();
    if (step) driver_fail("no realm: step %d", step);
}

void exercise(void) {
    static _Thread_local unsigned round;
    gss_ctx_id_t user, service;
    if (establish(round++ % 2 ? &negotiated : (gss_OID)gss_mech_krb5, &user, &service)) {
        driver_fail("no session");
    } else {
        in_one_piece(user, service, 1);
        in_one_piece(service, user, 0);
        in_pieces(user, service);
        damaged(user, service);
    }
    leave(&user, &service);
    if (round % 8 == 0) ask_for_a_ticket();
}
