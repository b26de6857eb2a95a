/* What the drivers call of libopensc: the distribution has no package with its headers. */
#include <stddef.h>
#include <string.h>

typedef unsigned char BYTE;
struct sc_oid {
    int value[16];
};
struct context;
struct reader;
struct sc_card;
struct p15card;
struct profile;
struct object;
struct parameters {
    unsigned version;
    const char *application;
    unsigned long flags;
    void *threads;
};
struct init {
    const BYTE *pin;
    size_t pin_size;
    const BYTE *puk;
    size_t puk_size;
    const char *labels[3];
};
int sc_context_create(struct context **, const struct parameters *);
int sc_release_context(struct context *);
struct reader *sc_ctx_get_reader(struct context *, unsigned);
int sc_connect_card(struct reader *, struct sc_card **);
int sc_disconnect_card(struct sc_card *);
int sc_get_challenge(struct sc_card *, BYTE *, size_t);
int sc_card_ctl(struct sc_card *, unsigned long, void *);
int sc_logout(struct sc_card *);
int sc_pkcs15_bind(struct sc_card *, void *, struct p15card **);
int sc_pkcs15_unbind(struct p15card *);
int sc_pkcs15_get_objects(struct p15card *, unsigned, struct object **, size_t);
int sc_pkcs15_verify_pin(struct p15card *, struct object *, const BYTE *, size_t);
int sc_pkcs15_decipher(struct p15card *, struct object *, unsigned long, const BYTE *, size_t,
                       BYTE *, size_t, void *);
int sc_pkcs15_get_name_from_dn(struct context *, const BYTE *, size_t, const struct sc_oid *,
                               BYTE **, size_t *);
char *sc_pkcs15_get_lastupdate(struct p15card *);
int sc_pkcs15init_bind(struct sc_card *, const char *, const char *, void *, struct profile **);
void sc_pkcs15init_unbind(struct profile *);
void sc_pkcs15init_set_p15card(struct profile *, struct p15card *);
int sc_pkcs15init_add_app(struct sc_card *, struct profile *, struct init *);
struct identifier {
    BYTE value[255];
    size_t length;
};
struct pin {
    struct identifier id;
    const char *label;
    const BYTE *pin;
    size_t pin_size;
    struct identifier puk_id;
    const char *puk_label;
    const BYTE *puk;
    size_t puk_size;
};
int sc_pkcs15init_store_pin(struct p15card *, struct profile *, struct pin *);
int sc_pkcs15init_erase_card_recursively(struct p15card *, struct profile *);
int sc_pkcs15init_erase_card(struct p15card *, struct profile *, void *);
int sc_pkcs15init_finalize_card(struct sc_card *, struct profile *);
struct callbacks {
    int (*pin)(struct profile *, int, const void *, const char *, BYTE *, size_t *);
    int (*key)(struct profile *, int, int, const BYTE *, size_t, BYTE *, size_t *);
};
void sc_pkcs15init_set_callbacks(struct callbacks *);
int sc_pkcs15init_sanity_check(struct p15card *, struct profile *);

static int give_pin(struct profile *p, int id, const void *info, const char *label, BYTE *to,
                    size_t *length) {
    (void)p, (void)id, (void)info, (void)label;
    memset(to, '1', *length < 8 ? *length : 8);
    if (*length > 8) *length = 8;
    return 0;
}
static int give_key(struct profile *p, int m, int r, const BYTE *d, size_t l, BYTE *to, size_t *n) {
    (void)p, (void)m, (void)r;
    if (l > *n) return -1;
    memcpy(to, d, *n = l);
    return 0;
}

static struct callbacks callbacks = {give_pin, give_key};
