/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 * proves: CVE-2025-27113.patch CVE-2023-39615_2.patch CVE-2025-6021.patch
 * proves: CVE-2023-29469-Hashing-of-empty-dict-strings-isn-t-d.patch CVE-2025-9714.patch
 * proves: Reset-nsNr-in-xmlCtxtReset.patch Also-reset-nsNr-in-htmlCtxtReset.patch
 * proves: CVE-2022-40303-Fix-integer-overflows-with-XML_PARSE_.patch
 * proves: CVE-2022-40304-Fix-dict-corruption-caused-by-entity-.patch
 */
#include "driver.h"

#include <libxml/HTMLparser.h>
#include <libxml/SAX2.h>
#include <libxml/dict.h>
#include <libxml/entities.h>
#include <libxml/parser.h>
#include <libxml/pattern.h>
#include <libxml/xpathInternals.h>
#include <stdio.h>
#include <string.h>

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }

/* "child::b" means the element b itself, not an element that has a child b. */
static int child_axis(void) {
    xmlDocPtr doc = xmlReadMemory("<a><b/></a>", 11, "m.xml", NULL, 0);
    xmlPatternPtr pattern = xmlPatterncompile(BAD_CAST "child::b", NULL, 0, NULL);
    int matches = xmlPatternMatch(pattern, xmlDocGetRootElement(doc)->children);
    xmlFreePattern(pattern);
    xmlFreeDoc(doc);
    return matches;
}

static int has_sax1_handlers(void) {
    xmlSAXHandler handler = {0};
    xmlSAXVersion(&handler, 2);
    return handler.startElement != NULL;
}

static int takes_negative_length(void) {
    xmlChar room[8], *name = xmlBuildQName(BAD_CAST "n", BAD_CAST "p", room, -1);
    xmlFree(name);
    return name != NULL;
}

/* The empty string, cut from names that begin differently, is one entry. */
static int empty_names(void) {
    static const char letters[] = "abcdefghijklmnop";
    xmlDictPtr dict = xmlDictCreate();
    for (int i = 0; i < 16; i++) xmlDictLookup(dict, BAD_CAST letters + i, 0);
    int entries = xmlDictSize(dict);
    xmlDictFree(dict);
    return entries == 1;
}

static int namespaces_left(void (*reset)(xmlParserCtxtPtr)) {
    xmlParserCtxtPtr context = htmlNewParserCtxt();
    context->nsNr = 2;
    reset(context);
    int left = context->nsNr;
    context->nsNr = 0;
    htmlFreeParserCtxt(context);
    return left;
}

static int depth_kept(void) {
    xmlXPathContextPtr context = xmlXPathNewContext(NULL);
    context->depth = 7;
    xmlXPathFreeCompExpr(xmlXPathCtxtCompile(context, BAD_CAST "1 + (2)"));
    int kept = context->depth;
    xmlXPathFreeContext(context);
    return kept;
}

static void first_message(void *to, xmlErrorPtr error) {
    if (!*(char *)to) snprintf(to, 60, "%.*s", (int)strcspn(error->message, "\n"), error->message);
}

static const char *long_name(void) {
    static char name[60000], message[60];
    memset(name, 'n', sizeof name - 1);
    name[0] = '<';
    message[0] = 0;
    xmlSetStructuredErrorFunc(message, first_message);
    xmlFreeDoc(xmlReadMemory(name, sizeof name - 1, "n.xml", NULL, 0));
    xmlSetStructuredErrorFunc(NULL, NULL);
    return message;
}

/* The text of an entity is changed later on: the dictionary must not own it. */
static int text_is_shared(void) {
    static const char document[] = "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>";
    xmlDocPtr doc = xmlReadMemory(document, sizeof document - 1, "e.xml", NULL, 0);
    int shared = xmlDictOwns(doc->dict, xmlGetDocEntity(doc, BAD_CAST "e")->content);
    xmlFreeDoc(doc);
    return shared;
}

void setup(void) { xmlInitParser(); }

void exercise(void) {
    xmlSetGenericErrorFunc(NULL, quiet);
    if (child_axis() < 0 || has_sax1_handlers() < 0 || depth_kept() < 0)
        driver_fail("an answer is out of range");
    text_is_shared();
}

const char *prove(void) {
    static char line[400];
    xmlSetGenericErrorFunc(NULL, quiet);
    snprintf(line, sizeof line,
             "child axis %d, SAX1 handlers %d, negative length taken %d, one empty name %d, "
             "namespaces left %d %d, depth %d, '%s', shared text %d",
             child_axis(), has_sax1_handlers(), takes_negative_length(), empty_names(),
             namespaces_left(xmlCtxtReset), namespaces_left(htmlCtxtReset), depth_kept(),
             long_name(), text_is_shared());
    return line;
}
