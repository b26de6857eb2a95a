/* Compiles style sheets and transforms documents: sorting, numbering, attribute templates, excluded
 * prefixes, keys, the extensions of EXSLT.
 *
 * object: libxslt.so.1* libexslt.so.0*
 * link: -I/usr/include/libxml2 -lxslt -lexslt -lxml2
 */
#include "driver.h"

#include <libexslt/exslt.h>
#include <libxml/parser.h>
#include <libxslt/transform.h>
#include <libxslt/xsltutils.h>
#include <string.h>

static const char sheet[] =
    "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform'"
    " xmlns:d='urn:d' xmlns:str='http://exslt.org/strings' exclude-result-prefixes='d str'>"
    "<xsl:key name='k' match='i' use='@n'/><xsl:template match='/'>"
    "<out xmlns:e='urn:e' xsl:exclude-result-prefixes='e' a='{count(//i)}{str:padding(2, \"x\")}'>"
    "<xsl:for-each select='//i[@n &gt; 1]'><xsl:sort select='@n' data-type='number' "
    "order='descending'/>"
    "<xsl:sort select='.' data-type='{\"text\"}'/>"
    "<l><xsl:number value='position()' format='I'/>.<xsl:number level='any' format='{\"a\"}'/>"
    "<xsl:value-of select='format-number(@n, \"#,##0.0\")'/><xsl:value-of select='key(\"k\", "
    "1)'/></l>"
    "</xsl:for-each><xsl:apply-templates select='//i[1]'/></out></xsl:template>"
    "<xsl:template match='i'><xsl:copy-of select='.'/></xsl:template></xsl:stylesheet>";
static const char document[] =
    "<r><i n='1'>one</i><i n='30'>thirty</i><i n='2'>two</i><i n='2'>another</i></r>";
static const char expected[] =
    "a=\"4xx\"><l>I.b30.0one</l><l>II.d2.0one</l><l>III.c2.0one</l><i n=\"1\">one</i></out>";

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }

void setup(void) {
    xmlInitParser();
    exsltRegisterAll();
}

void exercise(void) {
    xmlSetGenericErrorFunc(NULL, quiet);
    xsltSetGenericErrorFunc(NULL, quiet);
    xmlDocPtr text = xmlReadMemory(sheet, sizeof sheet - 1, "sheet.xsl", NULL, 0);
    xsltStylesheetPtr compiled = xsltParseStylesheetDoc(text);
    xmlDocPtr doc = xmlReadMemory(document, sizeof document - 1, "d.xml", NULL, 0);
    xmlDocPtr result = xsltApplyStylesheet(compiled, doc, NULL);
    xmlChar *out = NULL;
    int size = 0;
    xsltSaveResultToString(&out, &size, result, compiled);
    if (!out || !strstr((char *)out, expected)) driver_fail("the result is %s", (char *)out);
    xmlFree(out);
    xmlFreeDoc(result);
    xmlFreeDoc(doc);
    xsltFreeStylesheet(compiled);
}
