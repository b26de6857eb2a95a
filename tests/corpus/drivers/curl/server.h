/* A small server on the loopback interface: HTTP (also as a proxy, behind SOCKS 5 and over TLS) on
 * one port, and FTP, IMAP and telnet on others. HTTP answers with what was asked of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP, FTP, IMAP, TELNET, SERVICES };
#define CA_FILE "/tmp/naht-curl-ca.pem"
static int listening[SERVICES], port[SERVICES];
static SSL_CTX *tls;

struct line {
    int fd;
    SSL *ssl;
};

static int receive(struct line *l, void *to, int size) {
    return l->ssl ? SSL_read(l->ssl, to, size) : (int)recv(l->fd, to, (size_t)size, 0);
}
static void say(struct line *l, const char *text) {
    if (l->ssl) SSL_write(l->ssl, text, (int)strlen(text));
    else send(l->fd, text, strlen(text), MSG_NOSIGNAL);
}

static const char *header(const char *request, const char *name) {
    static _Thread_local char value[300];
    const char *at = strcasestr(request, name);
    snprintf(value, sizeof value, "%.*s", at ? (int)strcspn(at + strlen(name), "\r\n") : 1,
             at ? at + strlen(name) : "-");
    return value;
}

static void answer_http(struct line *l, const char *request) {
    char body[400], head[1200], authorization[320], elsewhere[80];
    snprintf(elsewhere, sizeof elsewhere, "Location: http://other.test:%d/plain\r\n", port[HTTP]);
    const char *extra = "", *status = "200 OK";
    if (!strncmp(request, "CONNECT", 7)) {
        say(l, "HTTP/1.1 200 go\r\n\r\n");
        return;
    }
    if (strstr(request, "/cookie"))
        extra = "Set-Cookie: a=b; path=/\r\nSet-Cookie: p=q; domain=CO.UK\r\n";
    if (strstr(request, "/hsts"))
        extra = "Strict-Transport-Security: max-age=1000; includeSubDomains\r\n";
    if (strstr(request, "/redirect")) status = "302 Found", extra = elsewhere;
    if (strstr(request, "/digest") && !strcasestr(request, "\r\nAuthorization:"))
        status = "401 No",
        extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    if (strstr(request, "/proxied") && !strcasestr(request, "Proxy-Authorization:"))
        status = "407 No",
        extra = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    snprintf(authorization, sizeof authorization, "%s", header(request, "\r\nAuthorization: "));
    snprintf(body, sizeof body, "authorization %.12s, proxy %.12s", authorization,
             header(request, "Proxy-Authorization: "));
    int bare = !strncmp(request, "HEAD", 4);
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status,
             bare ? 0 : strlen(body), extra, bare ? "" : body);
    say(l, head);
}

static int accept_tls(struct line *l) {
    l->ssl = SSL_new(tls);
    SSL_set_fd(l->ssl, l->fd);
    return SSL_accept(l->ssl) == 1;
}

/* Answers late, so that the client has gone back to its loop in between. */
static int accept_socks(struct line *l) {
    unsigned char bytes[512];
    if (recv(l->fd, bytes, 2, MSG_WAITALL) != 2 ||
        recv(l->fd, bytes + 2, bytes[1], MSG_WAITALL) != bytes[1])
        return 0;
    usleep(20000);
    send(l->fd, "\5\0", 2, MSG_NOSIGNAL);
    if (recv(l->fd, bytes, sizeof bytes, 0) < 7) return 0;
    send(l->fd, "\5\0\0\1\0\0\0\0\0\0", 10, MSG_NOSIGNAL);
    return 1;
}

static void serve_http(struct line *l) {
    char request[8192];
    int have = 0, got;
    unsigned char first;
    if (recv(l->fd, &first, 1, MSG_PEEK) != 1) return;
    if (first == 5 && !accept_socks(l)) return;
    if (first == 5 && recv(l->fd, &first, 1, MSG_PEEK) != 1) return;
    if (first == 0x16 && !accept_tls(l)) return;
    while ((got = receive(l, request + have, (int)sizeof request - 1 - have)) > 0) {
        request[have += got] = 0;
        if (!strstr(request, "\r\n\r\n")) continue;
        have = 0;
        answer_http(l, request);
        if (!strncmp(request, "CONNECT", 7) && !l->ssl && recv(l->fd, &first, 1, MSG_PEEK) == 1 &&
            first == 0x16 && !accept_tls(l))
            return;
    }
}

static void serve_lines(struct line *l, int service) {
    char text[1024], reply[300];
    int got;
    say(l, service == FTP ? "220 ready\r\n" : service == IMAP ? "* OK ready\r\n" : "login:\r\n");
    while ((got = receive(l, text, sizeof text - 1)) > 0) {
        text[got] = 0;
        if (service == TELNET) continue;
        if (service == FTP) {
            int code = !strncmp(text, "USER", 4)   ? 331
                       : !strncmp(text, "PASS", 4) ? 230
                       : !strncmp(text, "CWD", 3)  ? 250
                       : !strncmp(text, "QUIT", 4) ? 221
                       : !strncmp(text, "TYPE", 4) ? 200
                       : !strncmp(text, "SIZE", 4) ? 213
                                                   : 502;
            snprintf(reply, sizeof reply, "%d 257\r\n", code);
        } else {
            char tag[16];
            snprintf(tag, sizeof tag, "%.*s", (int)strcspn(text, " \r\n"), text);
            snprintf(reply, sizeof reply, "%s%s OK done\r\n",
                     strstr(text, "CAPABILITY") ? "* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN "
                                                  "AUTH=XOAUTH2 SASL-IR\r\n"
                     : strstr(text, "LOGOUT")   ? "* BYE bye\r\n"
                                                : "",
                     tag);
        }
        say(l, reply);
    }
}

static void *serve(void *argument) {
    struct line l = {(int)((long)argument >> 3), NULL};
    setsockopt(l.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    int service = (int)((long)argument & 7);
    if (service == HTTP) serve_http(&l);
    else serve_lines(&l, service);
    if (l.ssl) SSL_free(l.ssl);
    close(l.fd);
    return NULL;
}

static void *accept_all(void *argument) {
    int service = (int)(long)argument;
    for (;;) {
        pthread_t thread;
        long fd = accept(listening[service], NULL, NULL);
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, serve, (void *)(fd << 3 | service))) close((int)fd);
        else pthread_detach(thread);
    }
    return NULL;
}

static int make_certificate(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX context;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    ASN1_TIME_set_string(X509_getm_notAfter(x), "20900101000000Z");
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"naht", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name,
                                                "DNS:good.example.test,DNS:f*.example.test");
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(x, key, EVP_sha256());
    tls = SSL_CTX_new(TLS_server_method());
    int good = SSL_CTX_use_certificate(tls, x) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1;
    FILE *file = fopen(CA_FILE, "w");
    good &= file && PEM_write_X509(file, x) == 1;
    if (file) fclose(file);
    X509_free(x);
    EVP_PKEY_free(key);
    return good;
}

static int start_server(void) {
    for (long i = 0; i < SERVICES; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof a;
        pthread_t thread;
        listening[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listening[i], (struct sockaddr *)&a, size) || listen(listening[i], 64) ||
            getsockname(listening[i], (struct sockaddr *)&a, &size) ||
            pthread_create(&thread, NULL, accept_all, (void *)i))
            return 0;
        port[i] = ntohs(a.sin_port);
    }
    return make_certificate();
}
