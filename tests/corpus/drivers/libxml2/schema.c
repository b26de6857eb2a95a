/* Compiles and uses XML Schema (with identity constraints), RELAX NG (with inclusion), Schematron
 * and DTD grammars.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 */
#include "driver.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/schematron.h>
#include <libxml/valid.h>
#include <libxml/xmlschemas.h>
#include <stdio.h>
#include <string.h>

#define XS "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
static const char schema[] =
    XS "<xs:complexType name='base'><xs:sequence><xs:element name='k' maxOccurs='9'>"
       "<xs:complexType><xs:attribute name='i' type='short'/></xs:complexType></xs:element>"
       "</xs:sequence></xs:complexType>"
       "<xs:complexType name='more'><xs:complexContent><xs:extension base='base'><xs:sequence>"
       "<xs:element name='z' type='xs:date' minOccurs='0'/></xs:sequence></xs:extension>"
       "</xs:complexContent></xs:complexType>"
       "<xs:simpleType name='short'><xs:restriction base='xs:string'><xs:maxLength value='3'/>"
       "</xs:restriction></xs:simpleType>"
       "<xs:element name='r' type='more'><xs:key name='one'><xs:selector xpath='k'/>"
       "<xs:field xpath='@i'/></xs:key><xs:keyref name='two' refer='one'>"
       "<xs:selector xpath='k'/><xs:field xpath='@i'/></xs:keyref></xs:element></xs:schema>";
static const char broken_schema[] =
    XS "<xs:complexType name='d'><xs:simpleContent><xs:extension base='none'/></xs:simpleContent>"
       "</xs:complexType><xs:simpleType name='u'><xs:union memberTypes='missing'/></xs:simpleType>"
       "<xs:element name='r' type='u'/></xs:schema>";
static const char included[] =
    "<grammar xmlns='http://relaxng.org/ns/structure/1.0'><define name='k'><zeroOrMore>"
    "<element name='k'><attribute name='i'/></element></zeroOrMore></define></grammar>";
static const char grammar[] =
    "<grammar xmlns='http://relaxng.org/ns/structure/1.0'><include href='driver:k'/><start>"
    "<element name='r'><ref name='k'/><optional><element name='z'><text/></element></optional>"
    "</element></start></grammar>";
static const char rules[] =
    "<schema xmlns='http://purl.oclc.org/dsdl/schematron'><pattern id='p'><rule context='k'>"
    "<report test='@i = 2'>at <name path='..'/> and <name/> <value-of select='@i'/></report>"
    "<assert test='@i'>no i in <name/></assert></rule></pattern></schema>";
static const char good[] = "<r><k i='1'/><k i='2'/><z>2024-01-01</z></r>";
static const char twice[] = "<r><k i='1'/><k i='1'/><k i='long'/><z>no</z></r>";
static const char with_dtd[] =
    "<!DOCTYPE r [<!ELEMENT r (k,(z|k)*)><!ELEMENT k EMPTY><!ATTLIST k i ID #REQUIRED r IDREF "
    "#IMPLIED><!ELEMENT z ANY>]><r><k i='a'/><z><n:z xmlns:n='u'/></z><x:k xmlns:x='u'/></r>";

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }
static void silent(void *context, xmlErrorPtr error) { (void)context, (void)error; }

static int mine(const char *name) { return !strncmp(name, "driver:", 7); }
static void *open_included(const char *name) {
    return fmemopen((void *)(mine(name) ? included : ""), sizeof included - 1, "r");
}
static int read_included(void *file, char *to, int length) {
    return (int)fread(to, 1, (size_t)length, file);
}
static int close_included(void *file) { return fclose(file); }

static xmlDocPtr parse(const char *text) {
    return xmlReadMemory(text, (int)strlen(text), "m.xml", NULL, XML_PARSE_NONET);
}

static int by_schema(const char *text, const char *document) {
    xmlSchemaParserCtxtPtr parser = xmlSchemaNewMemParserCtxt(text, (int)strlen(text));
    xmlSchemaPtr compiled = xmlSchemaParse(parser);
    int answer = -1;
    if (compiled) {
        xmlSchemaValidCtxtPtr context = xmlSchemaNewValidCtxt(compiled);
        xmlDocPtr doc = parse(document);
        answer = xmlSchemaValidateDoc(context, doc);
        xmlFreeDoc(doc);
        xmlSchemaFreeValidCtxt(context);
    }
    xmlSchemaFree(compiled);
    xmlSchemaFreeParserCtxt(parser);
    return answer;
}

static int by_grammar(const char *document) {
    xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewMemParserCtxt(grammar, sizeof grammar - 1);
    xmlRelaxNGPtr compiled = xmlRelaxNGParse(parser);
    int answer = -1;
    if (compiled) {
        xmlRelaxNGValidCtxtPtr context = xmlRelaxNGNewValidCtxt(compiled);
        xmlDocPtr doc = parse(document);
        answer = xmlRelaxNGValidateDoc(context, doc);
        xmlFreeDoc(doc);
        xmlRelaxNGFreeValidCtxt(context);
    }
    xmlRelaxNGFree(compiled);
    xmlRelaxNGFreeParserCtxt(parser);
    return answer;
}

static int by_rules(const char *document) {
    xmlSchematronParserCtxtPtr parser = xmlSchematronNewMemParserCtxt(rules, sizeof rules - 1);
    xmlSchematronPtr compiled = xmlSchematronParse(parser);
    xmlSchematronValidCtxtPtr context =
        xmlSchematronNewValidCtxt(compiled, XML_SCHEMATRON_OUT_ERROR);
    xmlSchematronSetValidStructuredErrors(context, silent, NULL);
    xmlDocPtr doc = parse(document);
    int answer = xmlSchematronValidateDoc(context, doc);
    xmlFreeDoc(doc);
    xmlSchematronFreeValidCtxt(context);
    xmlSchematronFree(compiled);
    xmlSchematronFreeParserCtxt(parser);
    return answer;
}

static int by_dtd(void) {
    xmlDocPtr doc = parse(with_dtd);
    xmlValidCtxtPtr context = xmlNewValidCtxt();
    int answer = xmlValidateDocument(context, doc);
    xmlFreeValidCtxt(context);
    xmlFreeDoc(doc);
    return answer;
}

void setup(void) {
    xmlInitParser();
    xmlRegisterInputCallbacks(mine, open_included, read_included, close_included);
    xmlRelaxNGInitTypes();
    if (by_schema(schema, good)) driver_fail("the schema does not compile"); /* makes the types */
}

void exercise(void) {
    xmlSetGenericErrorFunc(NULL, quiet); /* the handlers are per thread */
    xmlSetStructuredErrorFunc(NULL, silent);
    if (by_schema(schema, good) != 0 || by_schema(schema, twice) <= 0) driver_fail("XML Schema");
    if (by_schema(broken_schema, good) != -1) driver_fail("a broken schema compiled");
    if (by_grammar(good) != 0 || by_grammar("<r><q/></r>") <= 0) driver_fail("RELAX NG");
    if (by_rules("<r><k i='1'/></r>") != 0 || by_rules(good) <= 0) driver_fail("Schematron");
    if (by_dtd() != 0) driver_fail("DTD");
}
