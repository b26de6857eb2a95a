/* A small HTTP server on libevent: says which method, path, body and role it was asked with, and
 * puts what it is asked for into a header of the answer. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>

#define PORT 8080

static void answer(struct evhttp_request *request, void *unused)
{
	(void)unused;
	struct evbuffer *body = evbuffer_new();
	const char *role = evhttp_find_header(evhttp_request_get_input_headers(request), "X-Role");
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	struct evkeyvalq asked;

	evbuffer_add_printf(body, "%s role %s body ", evhttp_uri_get_path(uri), role ? role : "none");
	evbuffer_add_buffer(body, evhttp_request_get_input_buffer(request));
	if (evhttp_uri_get_query(uri) &&
	    !evhttp_parse_query_str(evhttp_uri_get_query(uri), &asked)) {
		const char *value = evhttp_find_header(&asked, "header");
		if (value && evhttp_add_header(evhttp_request_get_output_headers(request),
					       "X-Asked", value))
			evbuffer_add_printf(body, ", header refused");
		evhttp_clear_headers(&asked);
	}
	evhttp_send_reply(request, HTTP_OK, "OK", body);
	evbuffer_free(body);
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct evhttp *http = evhttp_new(base);

	evhttp_set_timeout(http, 3600);
	evhttp_set_gencb(http, answer, NULL);
	if (evhttp_bind_socket(http, "127.0.0.1", PORT)) {
		fprintf(stderr, "can't listen\n");
		return EXIT_FAILURE;
	}
	return event_base_dispatch(base);
}
