/* Parses documents whole and in pieces, with entities, groups, namespaces, external entities, and
 * with parsers that are stopped, resumed and reset.
 *
 * object: libexpat.so.1*
 * link: -lexpat
 */
#include "driver.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

static const char document[] =
    "<?xml version='1.0'?><!DOCTYPE a:r [<!ENTITY % p '<!ENTITY q \"from p\">'>%p;\n"
    "<!ELEMENT a:r ((b|c)*,(d,(e|f)+)?)><!ATTLIST b i ID #IMPLIED n CDATA 'default &e;' m (x|y) "
    "'x'>\n"
    "<!ENTITY e 'va&#65;lue'><!ENTITY n '<b>in &e;</b>'><!ENTITY x SYSTEM 'external'>\n"
    "<!NOTATION t PUBLIC 'pub'>]>\n"
    "<a:r xmlns:a='urn:a'><!-- comment --><?pi data?><b i='one' n='p &e; q'>&e; text &n;</b>"
    "<b m='y'><![CDATA[raw]]>&x;</b><c xmlns='urn:c' a:k='1&#10;2'/></a:r>";

struct seen {
    XML_Parser parser;
    int elements, stop_at;
};

static void XMLCALL begin(void *data, const XML_Char *name, const XML_Char **attributes) {
    struct seen *seen = data;
    (void)name;
    (void)attributes;
    if (++seen->elements == seen->stop_at) XML_StopParser(seen->parser, XML_TRUE);
}
static void XMLCALL end(void *data, const XML_Char *name) { (void)data, (void)name; }
static void XMLCALL text(void *data, const XML_Char *s, int length) {
    (void)data, (void)s, (void)length;
}
static void XMLCALL declared(void *data, const XML_Char *name, XML_Content *model) {
    (void)name;
    XML_FreeContentModel(((struct seen *)data)->parser, model);
}
static int XMLCALL external(XML_Parser parser, const XML_Char *context, const XML_Char *base,
                            const XML_Char *system, const XML_Char *public) {
    (void)base, (void)system, (void)public;
    XML_Parser inner = XML_ExternalEntityParserCreate(parser, context, NULL);
    int status = XML_Parse(inner, "<b>external</b>", 15, 1);
    XML_ParserFree(inner);
    return status == XML_STATUS_OK;
}

static void set_up(struct seen *seen, int stop_at) {
    seen->elements = 0;
    seen->stop_at = stop_at;
    XML_SetUserData(seen->parser, seen);
    XML_SetElementHandler(seen->parser, begin, end);
    XML_SetCharacterDataHandler(seen->parser, text);
    XML_SetElementDeclHandler(seen->parser, declared);
    XML_SetExternalEntityRefHandler(seen->parser, external);
    XML_SetParamEntityParsing(seen->parser, XML_PARAM_ENTITY_PARSING_ALWAYS);
    XML_SetHashSalt(seen->parser, 1);
}

static void in_pieces(struct seen *seen, int piece) {
    const int length = (int)sizeof document - 1;
    for (int at = 0; at < length; at += piece) {
        int now = length - at < piece ? length - at : piece;
        void *to = XML_GetBuffer(seen->parser, now);
        memcpy(to, document + at, (size_t)now);
        enum XML_Status status = XML_ParseBuffer(seen->parser, now, at + now == length);
        if (status == XML_STATUS_SUSPENDED) status = XML_ResumeParser(seen->parser);
        if (status != XML_STATUS_OK)
            driver_fail("pieces of %d: error %d", piece, XML_GetErrorCode(seen->parser));
    }
    if (seen->elements != 6) driver_fail("pieces of %d: %d elements", piece, seen->elements);
}

void exercise(void) {
    static _Thread_local int round;
    struct seen seen = {XML_ParserCreateNS(NULL, '|'), 0, 0};
    set_up(&seen, 0);
    if (XML_Parse(seen.parser, document, sizeof document - 1, 1) != XML_STATUS_OK ||
        seen.elements != 6)
        driver_fail("whole: error %d, %d elements", XML_GetErrorCode(seen.parser), seen.elements);
    XML_ParserReset(seen.parser, NULL);
    set_up(&seen, 3);
    in_pieces(&seen, 1 + round++ % 97);
    XML_ParserReset(seen.parser, NULL);
    if (XML_Parse(seen.parser, "<a><b></a>", 10, 1) != XML_STATUS_ERROR ||
        !XML_ErrorString(XML_GetErrorCode(seen.parser)))
        driver_fail("a bad document is accepted");
    XML_ParserFree(seen.parser);
}
