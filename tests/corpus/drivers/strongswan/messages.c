/* Messages of RADIUS and of EAP-SIM written and read, and names of every kind.
 *
 * object: libradius.so.0* libsimaka.so.0* libstrongswan.so.0*
 * link: -L/usr/lib/ipsec -Wl,-rpath,/usr/lib/ipsec -l:libradius.so.0 -l:libsimaka.so.0
 * link: -l:libstrongswan.so.0
 */
#include "driver.h"

#include "interface.h"

static void use_radius(void) {
    struct radius *message = radius_message_create(1), *again;
    chunk name = {(uint8_t *)"user@naht.test", 14}, data;
    int type = 0, count = 0;
    message->add(message, 1, name);
    message->add(message, 32, name);
    again = radius_message_parse(message->get_encoding(message));
    if (!again || again->get_code(again) != 1) {
        driver_fail("RADIUS");
        return;
    }
    struct enumerator *attributes = again->create_enumerator(again);
    while (attributes->enumerate(attributes, &type, &data)) count += data.len == 14;
    attributes->destroy(attributes);
    if (count != 2) driver_fail("%d attributes", count);
    again->destroy(again);
    message->destroy(message);
}

/* Stands for objects whose methods are called, and need not do anything. */
static void *nothing(void) { return NULL; }
static void *(*idle[32])(void);

static void use_sim(void) {
    static uint8_t start[] = {1, 7, 0, 24, 18, 10, 0,    0, 15, 2, 0, 2,
                              0, 1, 0, 0,  12, 1,  0x80, 0, 13, 1, 0, 0};
    chunk data = {start, sizeof start}, value;
    int type = 0, count = 0;
    struct message *message = simaka_message_create_from_payload(data, idle);
    if (!message || !message->parse(message)) {
        driver_fail("EAP-SIM");
    } else {
        struct enumerator *attributes = message->create_attribute_enumerator(message);
        while (attributes->enumerate(attributes, &type, &value)) count++;
        attributes->destroy(attributes);
        if (count != 3) driver_fail("%d attributes of EAP-SIM", count);
    }
    if (message) message->destroy(message);
}

static void use_names(void) {
    static char *const names[] = {"user@naht.test",
                                  "10.0.0.1",
                                  "C=DE, O=naht, CN=driver",
                                  "fe80::1",
                                  "*.naht.test",
                                  "@#0102",
                                  "",
                                  "%any"};
    struct identity *made[8];
    for (int i = 0; i < 8; i++) {
        made[i] = identification_create_from_string(names[i]);
        struct identity *copy = made[i]->clone(made[i]);
        if (i < 6 && !copy->equals(copy, made[i])) driver_fail("%s is not itself", names[i]);
        made[i]->contains_wildcards(made[i]);
        made[i]->hash(made[i], 0);
        copy->destroy(copy);
    }
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++) made[i]->matches(made[i], made[k]);
    for (int i = 0; i < 8; i++) made[i]->destroy(made[i]);
}

void setup(void) {
    dbg = silent;
    library_init("", "naht");
    for (int i = 0; i < 32; i++) idle[i] = nothing;
    lib->set(lib, "sim-manager", idle);
    lib->set(lib, "aka-manager", idle);
}

void exercise(void) {
    use_radius();
    use_sim();
    use_names();
}
