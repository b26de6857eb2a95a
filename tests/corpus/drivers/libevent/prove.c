/* A header whose value holds the end of a line.
 *
 * object: libevent-2.1.so.7*
 * link: -levent
 * proves: CVE-2026-63385.patch
 */
#include "driver.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <sys/queue.h>

static int folded_header(void) {
    struct evkeyvalq headers;
    TAILQ_INIT(&headers);
    int answer = evhttp_add_header(&headers, "One", "Two\r\n Three");
    evhttp_clear_headers(&headers);
    return answer;
}

void exercise(void) {
    struct evkeyvalq headers;
    TAILQ_INIT(&headers);
    if (evhttp_add_header(&headers, "One", "Two Three") || !evhttp_find_header(&headers, "One"))
        driver_fail("a good header");
    evhttp_clear_headers(&headers);
}

const char *prove(void) { return folded_header() ? "refused" : "accepted"; }
