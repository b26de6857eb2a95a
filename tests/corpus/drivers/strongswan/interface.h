/* What the drivers call of libraries whose headers are not in a package. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct chunk {
    uint8_t *ptr;
    size_t len;
} chunk;

struct enumerator {
    bool (*enumerate)(struct enumerator *, ...);
    void *venumerate;
    void (*destroy)(struct enumerator *);
};
struct radius {
    struct enumerator *(*create_enumerator)(struct radius *);
    struct enumerator *(*create_vendor_enumerator)(struct radius *);
    void (*add)(struct radius *, int type, chunk data);
    int (*get_code)(struct radius *);
    void *others[3];
    chunk (*get_encoding)(struct radius *);
    void *more[3];
    void (*destroy)(struct radius *);
};
struct identity {
    chunk (*get_encoding)(struct identity *);
    int (*get_type)(struct identity *);
    unsigned (*hash)(struct identity *, unsigned);
    bool (*equals)(struct identity *, struct identity *);
    int (*matches)(struct identity *, struct identity *);
    bool (*contains_wildcards)(struct identity *);
    struct enumerator *(*create_part_enumerator)(struct identity *);
    struct identity *(*clone)(struct identity *);
    void (*destroy)(struct identity *);
};
struct message { /* of EAP-SIM and EAP-AKA */
    bool (*is_request)(struct message *);
    uint8_t (*get_identifier)(struct message *);
    int (*get_type)(struct message *);
    int (*get_subtype)(struct message *);
    struct enumerator *(*create_attribute_enumerator)(struct message *);
    void *add_attribute;
    bool (*parse)(struct message *);
    void *others[2];
    void (*destroy)(struct message *);
};

/* The library itself: what it knows by name. */
struct library {
    void *(*get)(struct library *, const char *name);
    bool (*set)(struct library *, const char *name, void *object);
};
extern struct library *lib;

bool library_init(char *settings, const char *name);
struct radius *radius_message_create(int code);
struct radius *radius_message_parse(chunk data);
struct identity *identification_create_from_string(char *text);
struct identity *identification_create_from_data(chunk data);
struct message *simaka_message_create_from_payload(chunk data, void *crypto);
extern void (*dbg)(int group, int level, char *format, ...);

static void silent(int group, int level, char *format, ...) {
    (void)group, (void)level, (void)format;
}
