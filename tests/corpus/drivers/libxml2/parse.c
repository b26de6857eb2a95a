/* Reads documents: pull, push and HTML parsers, SAX, entities, dictionaries, XInclude, XPath,
 * patterns, copies of trees.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 */
#include "driver.h"

#include <libxml/HTMLparser.h>
#include <libxml/SAX2.h>
#include <libxml/dict.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/pattern.h>
#include <libxml/xinclude.h>
#include <libxml/xmlreader.h>
#include <libxml/xpathInternals.h>
#include <string.h>

static const char document[] =
    "<?xml version='1.0'?><!DOCTYPE a:r PUBLIC '-//naht//r' 'mem:none' [\n"
    "<!ELEMENT a:r (b*,c?)><!ELEMENT b (#PCDATA)><!ATTLIST b i ID #IMPLIED n NMTOKENS #IMPLIED>\n"
    "<!ELEMENT c EMPTY><!ENTITY e 'va&#65;lue'><!ENTITY s 'x'><!ENTITY n '<b>in &e;</b>'>\n"
    "<!NOTATION t PUBLIC 'pub'>]>\n"
    "<a:r xmlns:a='urn:a'><!-- comment --><?pi data?><b i='one' n='p q'>&e;&s; text</b>&n;"
    "<b i='\xc3\xa4\xc3\xb6'><![CDATA[raw]]></b><\xc3\xa4 x='1&#10;2'/></a:r>";
static const char included[] =
    "<r xmlns:xi='http://www.w3.org/2001/XInclude'><k/><xi:include href='mem:none'>"
    "<xi:fallback><f/></xi:fallback></xi:include></r>";

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }
static void silent(void *context, xmlErrorPtr error) { (void)context, (void)error; }

static int pull(void) {
    xmlDocPtr doc = xmlReadMemory(document, sizeof document - 1, "m.xml", NULL,
                                  XML_PARSE_NOENT | XML_PARSE_DTDATTR | XML_PARSE_NONET);
    if (!doc) return 1;
    xmlDocPtr copy = xmlCopyDoc(doc, 1);
    xmlXPathContextPtr context = xmlXPathNewContext(copy);
    xmlXPathObjectPtr found = xmlXPathEvalExpression(
        BAD_CAST "count(//b[string-length(.) > 1]) + count(id('one')/ancestor::*)", context);
    int bad = !found || found->floatval < 3;
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    xmlFreeDoc(copy);
    xmlFreeDoc(doc);
    return bad ? 2 : 0;
}

static int push(void) {
    xmlParserCtxtPtr context = xmlCreatePushParserCtxt(NULL, NULL, NULL, 0, "p.xml");
    for (size_t at = 0; at < sizeof document - 1; at += 7)
        xmlParseChunk(context, document + at,
                      (int)(sizeof document - 1 - at < 7 ? sizeof document - 1 - at : 7), 0);
    xmlParseChunk(context, NULL, 0, 1);
    int bad = !context->wellFormed;
    xmlFreeDoc(context->myDoc);
    context->myDoc = NULL;
    xmlCtxtReset(context);
    xmlDocPtr again = xmlCtxtReadMemory(context, included, sizeof included - 1, "i.xml", NULL,
                                        XML_PARSE_SAX1 | XML_PARSE_HUGE);
    bad |= !again;
    xmlFreeDoc(again);
    xmlFreeParserCtxt(context);
    return bad ? 3 : 0;
}

static int read_with_inclusion(void) {
    xmlTextReaderPtr reader =
        xmlReaderForMemory(included, sizeof included - 1, "i.xml", NULL, XML_PARSE_XINCLUDE);
    int seen = 0;
    while (xmlTextReaderRead(reader) == 1)
        seen += xmlStrEqual(xmlTextReaderConstLocalName(reader), BAD_CAST "f");
    xmlFreeTextReader(reader);
    return seen == 1 ? 0 : 4;
}

static int html(void) {
    static const char page[] = "<html><head><title>t</title><body><p a=b>x<p>y<br><b>z</i></html>";
    htmlDocPtr doc = htmlReadMemory(page, sizeof page - 1, "h.html", NULL, HTML_PARSE_NONET);
    htmlParserCtxtPtr context = htmlNewParserCtxt();
    htmlDocPtr other = htmlCtxtReadMemory(context, page, sizeof page - 1, "h", NULL, 0);
    int bad = !doc || !other;
    xmlFreeDoc(doc);
    xmlFreeDoc(other);
    htmlFreeParserCtxt(context);
    return bad ? 5 : 0;
}

static int matches(const char *expression, const char *name) {
    xmlDocPtr doc = xmlReadMemory("<a><b/></a>", 11, "m.xml", NULL, 0);
    xmlNodePtr node = xmlDocGetRootElement(doc);
    if (strcmp(name, "a")) node = node->children;
    xmlPatternPtr pattern = xmlPatterncompile(BAD_CAST expression, NULL, 0, NULL);
    int answer = xmlPatternMatch(pattern, node);
    xmlFreePattern(pattern);
    xmlFreeDoc(doc);
    return answer;
}

void setup(void) { xmlInitParser(); }

void exercise(void) {
    static _Thread_local unsigned round;
    xmlSetGenericErrorFunc(NULL, quiet); /* the handlers are per thread */
    xmlSetStructuredErrorFunc(NULL, silent);
    xmlFree(xmlBuildQName(BAD_CAST "n", BAD_CAST "p", NULL, 0));
    int bad = pull();
    if (!bad) bad = push();
    if (!bad) bad = round++ % 2 ? html() : read_with_inclusion();
    if (!bad && matches("a/b", "b") != 1) bad = 6;
    if (bad) driver_fail("document reader: %d", bad);
}
