/* An attribute that is shorter than its own header.
 *
 * object: libradius.so.0*
 * link: -L/usr/lib/ipsec -Wl,-rpath,/usr/lib/ipsec -l:libradius.so.0 -l:libstrongswan.so.0
 * proves: 0010-libradius-Reject-undersized-attributes-in-enumerator.patch
 */
#include "driver.h"

#include "interface.h"

#include <stdio.h>

static const char *ask(uint8_t length) {
    static _Thread_local char line[80];
    uint8_t bytes[24] = {1, 9, 0, 24, [20] = 1, [21] = length, [22] = 33, [23] = 2};
    struct radius *message = radius_message_parse((chunk){bytes, sizeof bytes});
    chunk data = {NULL, 0};
    int type = 0;
    if (!message) return "not read";
    struct enumerator *attributes = message->create_enumerator(message);
    bool found = attributes->enumerate(attributes, &type, &data);
    snprintf(line, sizeof line, "%s, type %d, length %zd", found ? "found" : "refused", type,
             (ssize_t)data.len);
    attributes->destroy(attributes);
    message->destroy(message);
    return line;
}

void setup(void) {
    dbg = silent;
    library_init("", "naht");
}

void exercise(void) {
    if (strcmp(ask(4), "found, type 1, length 2")) driver_fail("a good attribute");
}

const char *prove(void) { return ask(1); }
