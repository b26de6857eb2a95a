/* A small HTTP server on libsoup: says which path and role it was asked with. */
#include <libsoup/soup.h>
#include <stdio.h>
#include <stdlib.h>

#define PORT 8080

static void answer(SoupServer *server, SoupMessage *message, const char *path, GHashTable *query,
		   SoupClientContext *client, gpointer unused)
{
	(void)server, (void)query, (void)client, (void)unused;
	const char *role = soup_message_headers_get_one(message->request_headers, "X-Role");
	char *text = g_strdup_printf("%s role %s", path, role ? role : "none");

	soup_message_set_status(message, SOUP_STATUS_OK);
	soup_message_set_response(message, "text/plain", SOUP_MEMORY_TAKE, text, strlen(text));
}

int main(void)
{
	GError *error = NULL;
	SoupServer *server = soup_server_new(SOUP_SERVER_SERVER_HEADER, "proof", NULL);

	soup_server_add_handler(server, NULL, answer, NULL, NULL);
	if (!soup_server_listen_local(server, PORT, SOUP_SERVER_LISTEN_IPV4_ONLY, &error)) {
		fprintf(stderr, "%s\n", error->message);
		return EXIT_FAILURE;
	}
	g_main_loop_run(g_main_loop_new(NULL, FALSE));
	return EXIT_SUCCESS;
}
