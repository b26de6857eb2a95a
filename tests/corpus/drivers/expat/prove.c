/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libexpat.so.1*
 * link: -lexpat
 * proves: CVE-2024-45490.patch expat-2.5.0-CVE-2024-50602.patch
 */
#include "driver.h"

#include <expat.h>
#include <stdio.h>

static int negative_length(void) {
    XML_Parser parser = XML_ParserCreate(NULL);
    XML_GetBuffer(parser, 16);
    int status = (int)XML_ParseBuffer(parser, -1, 0), code = (int)XML_GetErrorCode(parser);
    XML_ParserFree(parser);
    return status * 100 + code;
}

static int stop_before_the_start(void) {
    XML_Parser parser = XML_ParserCreate(NULL);
    int status = (int)XML_StopParser(parser, XML_TRUE);
    XML_ParserFree(parser);
    return status;
}

void exercise(void) {
    XML_Parser parser = XML_ParserCreate(NULL);
    if (XML_Parse(parser, "<a/>", 4, 1) != XML_STATUS_OK) driver_fail("a good document");
    XML_ParserFree(parser);
}

const char *prove(void) {
    static char line[80];
    snprintf(line, sizeof line, "negative length %d, stop before the start %d", negative_length(),
             stop_before_the_start());
    return line;
}
