/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libcurl.so.4*
 * link: -l:libcurl.so.4 -lssl -lcrypto
 * proves: CVE-2023-27533.patch CVE-2023-28321.patch CVE-2023-38545.patch CVE-2023-46218.patch
 * proves: CVE-2023-46219.patch CVE-2024-2004.patch CVE-2024-11053.patch CVE-2025-0167.patch
 */
#include "server.h"

#include "driver.h"

#include <curl/curl.h>
#include <sys/stat.h>

static char text[600];
static size_t length;

static size_t keep(char *data, size_t size, size_t count, void *to) {
    (void)to;
    if (length + size * count < sizeof text) {
        memcpy(text + length, data, size * count);
        length += size * count;
    }
    text[length] = 0;
    return size * count;
}

static CURL *handle(void) {
    static struct curl_slist *to;
    if (!to) to = curl_slist_append(NULL, "::127.0.0.1:");
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, to);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    return curl;
}

static int get(CURL *curl, const char *scheme, const char *host, int service, const char *path) {
    char url[900];
    snprintf(url, sizeof url, "%s://%s:%d%s", scheme, host, port[service], path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    length = 0, text[0] = 0;
    return (int)curl_easy_perform(curl);
}

/* "f*.example.test" is no name for foo.example.test. */
static int partial_wildcard(void) {
    CURL *curl = handle();
    curl_easy_setopt(curl, CURLOPT_CAINFO, CA_FILE);
    int result = get(curl, "https", "foo.example.test", HTTP, "/plain");
    curl_easy_cleanup(curl);
    return result;
}

static int long_name_behind_socks(void) {
    char name[301], proxy[60];
    CURL *curl = handle();
    memset(name, 'h', 300);
    for (int i = 50; i < 300; i += 50) name[i] = '.';
    name[300] = 0;
    snprintf(proxy, sizeof proxy, "socks5h://127.0.0.1:%d", port[HTTP]);
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, NULL);
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    int result = get(curl, "http", name, HTTP, "/plain");
    curl_easy_cleanup(curl);
    return result;
}

/* The server sets a cookie for CO.UK, which is everybody's. */
static int cookies_kept(void) {
    struct curl_slist *cookies = NULL;
    int count = 0;
    CURL *curl = handle();
    curl_easy_setopt(curl, CURLOPT_COOKIEFILE, "");
    get(curl, "http", "shop.CO.UK", HTTP, "/cookie");
    curl_easy_getinfo(curl, CURLINFO_COOKIELIST, &cookies);
    for (struct curl_slist *c = cookies; c; c = c->next) count++;
    curl_slist_free_all(cookies);
    curl_easy_cleanup(curl);
    return count;
}

/* A name so long that nothing can be appended to it. */
static int jar_is_written(void) {
    static char name[] =
        "/tmp/naht-jar-................................................................"
        ".........................................................................................."
        "..."
        "........................................................................................";
    struct stat status;
    FILE *file = fopen(name, "w");
    if (file) fclose(file);
    CURL *curl = handle();
    curl_easy_setopt(curl, CURLOPT_COOKIEJAR, name);
    curl_easy_setopt(curl, CURLOPT_COOKIELIST, "Set-Cookie: a=b; domain=example.test; path=/");
    curl_easy_cleanup(curl);
    return !stat(name, &status) && status.st_size > 0;
}

/* To be asked for no protocol at all is not to be asked for the usual ones. */
static int no_protocols(void) {
    CURL *curl = handle();
    int set = (int)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "");
    int result = get(curl, "http", "good.example.test", HTTP, "/plain");
    curl_easy_cleanup(curl);
    return set * 1000 + result;
}

/* The credentials that arrive at the host to which the first one has sent us. */
static const char *redirected(const char *netrc) {
    FILE *file = fopen("/tmp/naht-netrc", "w");
    if (file) fputs(netrc, file), fclose(file);
    CURL *curl = handle();
    curl_easy_setopt(curl, CURLOPT_NETRC, CURL_NETRC_OPTIONAL);
    curl_easy_setopt(curl, CURLOPT_NETRC_FILE, "/tmp/naht-netrc");
    get(curl, "http", "good.example.test", HTTP, "/redirect");
    curl_easy_cleanup(curl);
    static char sent[2][20];
    static int next;
    next = (next + 1) % 2;
    snprintf(sent[next], sizeof *sent, "'%.*s'", (int)strcspn(text + 14, ","), text + 14);
    return sent[next];
}

static int telnet_user(void) {
    struct curl_slist *options = curl_slist_append(NULL, "TTYPE=vt100");
    CURL *curl = handle();
    curl_easy_setopt(curl, CURLOPT_TELNETOPTIONS, options);
    curl_easy_setopt(curl, CURLOPT_USERNAME, "u\xff");
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 300L);
    int result = get(curl, "telnet", "127.0.0.1", TELNET, "/");
    curl_slist_free_all(options);
    curl_easy_cleanup(curl);
    return result;
}

void setup(void) {
    curl_global_init(CURL_GLOBAL_ALL);
    if (!start_server()) driver_fail("no server");
}

void exercise(void) {
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, "file:///etc/hostname");
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_perform(curl);
    curl_easy_cleanup(curl);
}

const char *prove(void) {
    static char line[400];
    int a = partial_wildcard(), b = long_name_behind_socks(), c = cookies_kept(),
        d = jar_is_written(), e = no_protocols(), f = telnet_user();
    const char *g = redirected("machine good.example.test login u password p\n"
                               "machine other.test login v\n");
    const char *h = redirected("machine good.example.test login u password p\ndefault\n");
    snprintf(line, sizeof line,
             "wildcard %d, SOCKS %d, cookies %d, jar %d, protocols %d, telnet %d, "
             "redirected with %s %s",
             a, b, c, d, e, f, g, h);
    return line;
}
