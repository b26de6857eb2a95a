/* Entities that refer to each other, a few and many levels deep: in content and in an attribute.
 *
 * object: libexpat.so.1*
 * link: -lexpat
 * proves: expat-2.5.0-CVE-2024-8176.patch
 */
#include "driver.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 400 };

static int nested(int depth, const char *body) {
    static __thread char text[MOST * 40];
    size_t at = (size_t)snprintf(text, sizeof text, "<!DOCTYPE r [<!ENTITY e0 'x'>");
    for (int i = 1; i <= depth; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "<!ENTITY e%d '&e%d;'>", i, i - 1);
    at += (size_t)snprintf(text + at, sizeof text - at, body, depth);
    XML_Parser parser = XML_ParserCreate(NULL);
    XML_Parse(parser, text, (int)at, 1);
    int error = (int)XML_GetErrorCode(parser);
    XML_ParserFree(parser);
    return error;
}

static const char content[] = "]><r>&e%d;</r>", attribute[] = "]><r a='&e%d;'/>";

void exercise(void) {
    if (nested(20, content) || nested(20, attribute)) driver_fail("twenty levels");
}

const char *prove(void) {
    static char line[60];
    snprintf(line, sizeof line, "content %d, attribute %d", nested(MOST, content),
             nested(MOST, attribute));
    return line;
}
