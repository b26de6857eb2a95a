/* Transfers from a server of our own: HTTP with cookies, redirects, passwords, proxies and TLS,
 * FTP, IMAP, telnet, files.
 *
 * object: libcurl.so.4*
 * link: -l:libcurl.so.4 -lssl -lcrypto
 */
#include "server.h"

#include "driver.h"

#include <curl/curl.h>

struct text {
    size_t length;
    char text[600];
};

static size_t keep(char *data, size_t size, size_t count, void *to) {
    struct text *text = to;
    if (!to) return size * count;
    size_t room = sizeof text->text - 1 - text->length, length = size * count;
    if (length < room) room = length;
    memcpy(text->text + text->length, data, room);
    text->text[text->length += room] = 0;
    return length;
}

static CURLcode get(CURL *curl, struct text *text, const char *scheme, int service,
                    const char *path) {
    char url[200];
    snprintf(url, sizeof url, "%s://good.example.test:%d%s", scheme, port[service], path);
    text->length = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, text);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, NULL);
    return result;
}

static void use_http(CURL *curl, struct text *text) {
    struct curl_slist *headers = curl_slist_append(NULL, "X-Mine: 1"), *cookies = NULL;
    curl_easy_setopt(curl, CURLOPT_COOKIEFILE, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    if (get(curl, text, "http", HTTP, "/cookie")) driver_fail("HTTP");
    curl_easy_getinfo(curl, CURLINFO_COOKIELIST, &cookies);
    if (!cookies) driver_fail("no cookie");
    curl_slist_free_all(cookies);
    curl_easy_setopt(curl, CURLOPT_USERPWD, "user:secret");
    if (get(curl, text, "http", HTTP, "/redirect")) driver_fail("redirect");
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_DIGEST);
    if (get(curl, text, "http", HTTP, "/digest")) driver_fail("digest");
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, "token");
    if (get(curl, text, "http", HTTP, "/redirect")) driver_fail("bearer");
    curl_easy_setopt(curl, CURLOPT_NETRC, CURL_NETRC_OPTIONAL);
    get(curl, text, "http", HTTP, "/plain");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
}

static void use_proxies(CURL *curl, struct text *text) {
    char proxy[60];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port[HTTP]);
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    curl_easy_setopt(curl, CURLOPT_PROXYUSERPWD, "p:q");
    curl_easy_setopt(curl, CURLOPT_PROXYAUTH, CURLAUTH_DIGEST);
    if (get(curl, text, "http", HTTP, "/proxied")) driver_fail("proxy");
    snprintf(proxy, sizeof proxy, "socks5h://127.0.0.1:%d", port[HTTP]);
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    curl_easy_setopt(curl, CURLOPT_PROXYUSERPWD, NULL);
    if (get(curl, text, "http", HTTP, "/plain")) driver_fail("SOCKS");
    curl_easy_setopt(curl, CURLOPT_PROXY, NULL);
}

static void use_tls(CURL *curl, struct text *text) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, CA_FILE);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(curl, CURLOPT_HSTS_CTRL, (long)CURLHSTS_ENABLE);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    CURLcode result = get(curl, text, "https", HTTP, "/hsts");
    if (result && result != CURLE_SSL_CACERT_BADFILE) driver_fail("TLS: %d", result);
}

static void use_others(CURL *curl, struct text *text) {
    struct curl_slist *options = curl_slist_append(NULL, "TTYPE=vt100");
    options = curl_slist_append(options, "NEW_ENV=A,b");
    curl_easy_setopt(curl, CURLOPT_DIRLISTONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    get(curl, text, "ftp", FTP, "/a/b");
    curl_easy_setopt(curl, CURLOPT_NOBODY, 0L);
    get(curl, text, "imap", IMAP, "/");
    curl_easy_setopt(curl, CURLOPT_TELNETOPTIONS, options);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    get(curl, text, "telnet", TELNET, "/");
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 0L);
    curl_easy_setopt(curl, CURLOPT_TELNETOPTIONS, NULL);
    curl_slist_free_all(options);
    curl_easy_setopt(curl, CURLOPT_URL, "file:///etc/hostname");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "file,http");
    curl_easy_perform(curl);
}

void setup(void) {
    curl_global_init(CURL_GLOBAL_ALL);
    if (!start_server()) driver_fail("no server");
}

void exercise(void) {
    static _Thread_local unsigned round;
    struct text text;
    struct curl_slist *to = curl_slist_append(NULL, "::127.0.0.1:");
    char name[60];
    snprintf(name, sizeof name, "/tmp/naht-jar-%lx", (long)pthread_self());
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, to);
    curl_easy_setopt(curl, CURLOPT_COOKIEJAR, name);
    switch (round++ % 4) {
    case 0: use_http(curl, &text); break;
    case 1: use_proxies(curl, &text); break;
    case 2: use_tls(curl, &text); break;
    default: use_others(curl, &text);
    }
    CURL *copy = curl_easy_duphandle(curl);
    curl_easy_cleanup(copy);
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
}
