/* Buffers, tags, names and HTTP between a client and a server in one loop for each thread.
 *
 * object: libevent-2.1.so.7*
 * link: -levent -levent_pthreads
 */
#include "driver.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/tag.h>
#include <event2/thread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    struct event_base *base;
    struct evdns_base *resolver;
    int answers, resolved;
    char body[64];
};

static void use_buffers(void) {
    struct evbuffer *one = evbuffer_new(), *two = evbuffer_new(), *three = evbuffer_new();
    evbuffer_add(one, "chunk", 5);
    evbuffer_add_reference(one, " and text", 9, NULL, NULL);
    evbuffer_add(two, "", 0);
    evbuffer_add_buffer_reference(two, one);
    evbuffer_add_printf(three, "%d ", 7);
    evbuffer_add_buffer_reference(three, one);
    evbuffer_prepend_buffer(three, two);
    if (evbuffer_get_length(three) != 30 ||
        memcmp(evbuffer_pullup(three, -1), "chunk and text7 ", 16))
        driver_fail("buffers");
    evbuffer_free(one);
    evbuffer_free(two);
    evbuffer_free(three);
}

static void use_tags(void) {
    struct evbuffer *buffer = evbuffer_new();
    struct timeval time = {5, 6}, back = {0, 0};
    ev_uint32_t number = 0, tag = 0;
    char *text = NULL;
    evtag_init();
    evtag_marshal_int(buffer, 0xBEEF, 1234);
    evtag_marshal_string(buffer, 3, "a string");
    evtag_marshal_timeval(buffer, 70000, &time);
    int peeked = evtag_peek(buffer, &tag), first = evtag_unmarshal_int(buffer, 0xBEEF, &number),
        second = evtag_unmarshal_string(buffer, 3, &text),
        third = evtag_unmarshal_timeval(buffer, 70000, &back);
    if (peeked < 0 || first < 0 || second < 0 || third < 0 || tag != 0xBEEF || number != 1234 ||
        strcmp(text, "a string") || back.tv_usec != 6)
        driver_fail("tags: %d %d %d %d", peeked, first, second, third);
    free(text);
    evbuffer_add(buffer, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    if (evtag_unmarshal_header(buffer, &tag) >= 0) driver_fail("a bad tag");
    evbuffer_free(buffer);
}

static void answer_http(struct evhttp_request *request, void *unused) {
    struct evbuffer *body = evbuffer_new();
    (void)unused;
    evbuffer_add_buffer(body, evhttp_request_get_input_buffer(request));
    evhttp_add_header(evhttp_request_get_output_headers(request), "X-Mine", "a value");
    evhttp_send_reply(request, 200, "OK", body);
    evbuffer_free(body);
}

static void answer_name(struct evdns_server_request *request, void *unused) {
    struct in_addr address = {htonl(INADDR_LOOPBACK)};
    (void)unused;
    if (request->questions[0]->type == EVDNS_TYPE_A)
        evdns_server_request_add_a_reply(request, request->questions[0]->name, 1, &address, 10);
    evdns_server_request_respond(request, 0);
}

static void done(struct evhttp_request *request, void *argument) {
    struct scene *scene = argument;
    if (request) {
        int size = evbuffer_remove(evhttp_request_get_input_buffer(request), scene->body,
                                   sizeof scene->body - 1);
        scene->body[size < 0 ? 0 : size] = 0;
        scene->answers++;
    }
    event_base_loopbreak(scene->base);
}

static void ask(struct scene *scene, struct evhttp *server) {
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &size);
    struct evhttp_connection *connection = evhttp_connection_base_new(
        scene->base, scene->resolver, "host.naht.test", ntohs(address.sin_port));
    struct evhttp_request *request = evhttp_request_new(done, scene);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "host.naht.test");
    evbuffer_add(evhttp_request_get_output_buffer(request), "a body", 6);
    evhttp_connection_set_timeout(connection, 20);
    evhttp_make_request(connection, request, EVHTTP_REQ_POST, "/path?a=b");
    event_base_dispatch(scene->base);
    evhttp_connection_free(connection);
    if (scene->answers != 1 || strcmp(scene->body, "a body"))
        driver_fail("HTTP: %d answers, '%s'", scene->answers, scene->body);
}

static void use_network(void) {
    struct scene scene = {.base = event_base_new()};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    evutil_socket_t fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    bind(fd, (struct sockaddr *)&address, size);
    getsockname(fd, (struct sockaddr *)&address, &size);
    struct evdns_server_port *names =
        evdns_add_server_port_with_base(scene.base, fd, 0, answer_name, NULL);
    scene.resolver = evdns_base_new(scene.base, 0);
    evdns_base_nameserver_sockaddr_add(scene.resolver, (struct sockaddr *)&address, size, 0);
    struct evhttp *server = evhttp_new(scene.base);
    evhttp_set_gencb(server, answer_http, NULL);
    ask(&scene, server);
    evhttp_free(server);
    evdns_base_free(scene.resolver, 0);
    evdns_close_server_port(names);
    event_base_loop(scene.base, EVLOOP_NONBLOCK);
    event_base_free(scene.base);
}

void setup(void) { evthread_use_pthreads(); }

void exercise(void) {
    use_buffers();
    use_tags();
    use_network();
}
