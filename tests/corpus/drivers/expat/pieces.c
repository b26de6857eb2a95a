/* A start tag that comes byte by byte: parsed anew with every byte, or when twice as much is there.
 *
 * object: libexpat.so.1*
 * link: -lexpat
 * proves: expat-2.5.0-CVE-2023-52425.patch
 */
#include "driver.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = 200 };
static char tag[LENGTH + 1];

static void XMLCALL started(void *seen, const XML_Char *name, const XML_Char **attributes) {
    (void)name, (void)attributes;
    ++*(int *)seen;
}

static XML_Parser parser_of(int *seen) {
    XML_Parser parser = XML_ParserCreate(NULL);
    XML_SetUserData(parser, seen);
    XML_SetStartElementHandler(parser, started);
    return parser;
}

static int feed(XML_Parser parser) {
    for (int i = 0; i < LENGTH; i++)
        if (XML_Parse(parser, tag + i, 1, 0) != XML_STATUS_OK) return -1;
    return 0;
}

void setup(void) {
    memset(tag, 'x', LENGTH);
    memcpy(tag, "<a b='", 6);
    memcpy(tag + LENGTH - 2, "'>", 2);
}

/* Whenever it is parsed, all of it is there at the end; also when the parser is used again. */
void exercise(void) {
    int seen = 0;
    XML_Parser parser = parser_of(&seen);
    for (int round = 0; round < 2; round++) {
        seen = 0;
        if (feed(parser) || XML_Parse(parser, "</a>", 4, 1) != XML_STATUS_OK || seen != 1)
            driver_fail("a document in pieces");
        if (!XML_ParserReset(parser, NULL)) driver_fail("a parser is not used again");
        XML_SetUserData(parser, &seen);
        XML_SetStartElementHandler(parser, started);
    }
    XML_ParserFree(parser);
}

const char *prove(void) {
    int seen = 0;
    XML_Parser parser = parser_of(&seen);
    int bad = feed(parser);
    XML_ParserFree(parser);
    return bad ? "an error" : seen ? "parsed with its last byte" : "waits for more";
}
