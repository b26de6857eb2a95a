/* A client and a server of HTTP/2 that hand each other what they want to send: requests, resets,
 * pings, settings, and input that ends the session.
 *
 * object: libnghttp2.so.14*
 * link: -lnghttp2
 */
#include "driver.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

struct side {
    nghttp2_session *session;
    int headers, closed, stop;
};
#define NAME(n, v) {(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, 0}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t length, uint8_t flags,
                     void *user) {
    struct side *side = user;
    (void)frame, (void)name, (void)name_length, (void)value, (void)length, (void)flags;
    if (++side->headers == side->stop) nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR);
    return 0;
}
static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
    (void)session, (void)stream, (void)error;
    ((struct side *)user)->closed++;
    return 0;
}

static void open_side(struct side *side, int server, int stop) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100};
    *side = (struct side){.stop = stop};
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (server) nghttp2_session_server_new(&side->session, callbacks, side);
    else nghttp2_session_client_new(&side->session, callbacks, side);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(side->session, NGHTTP2_FLAG_NONE, &settings, 1);
}

static int hand_over(struct side *from, struct side *to) {
    const uint8_t *data;
    ssize_t size, moved = 0;
    while ((size = nghttp2_session_mem_send(from->session, &data)) > 0) {
        for (ssize_t at = 0; at < size; at += 11)
            if (nghttp2_session_mem_recv(to->session, data + at,
                                         (size_t)(size - at < 11 ? size - at : 11)) < 0)
                return 0;
        moved += size;
    }
    return moved > 0;
}

static void answer_all(struct side *server) {
    nghttp2_nv answer[] = {NAME(":status", "200"), NAME("server", "naht")};
    for (int32_t stream = 1; stream < 20; stream += 2)
        nghttp2_submit_response(server->session, stream, answer, 2, NULL);
}

static void whole_session(int stop) {
    nghttp2_nv request[] = {NAME(":method", "GET"), NAME(":path", "/path"), NAME(":scheme", "http"),
                            NAME(":authority", "naht.test"), NAME("x-mine", "a value")};
    struct side client, server;
    open_side(&client, 0, 0);
    open_side(&server, 1, stop);
    for (int i = 0; i < 10; i++) {
        int32_t stream = nghttp2_submit_request(client.session, NULL, request, 5, NULL, NULL);
        if (i % 3 == 2) nghttp2_submit_rst_stream(client.session, 0, stream, NGHTTP2_CANCEL);
    }
    nghttp2_submit_ping(client.session, 0, (const uint8_t *)"pingping");
    hand_over(&client, &server);
    answer_all(&server);
    while (hand_over(&server, &client) | hand_over(&client, &server)) {}
    if (!stop && (server.headers < 35 || client.headers < 14))
        driver_fail("%d and %d headers", server.headers, client.headers);
    nghttp2_session_del(client.session);
    nghttp2_session_del(server.session);
}

void exercise(void) {
    static _Thread_local int round;
    whole_session(round++ % 4 ? 0 : 6);
}
