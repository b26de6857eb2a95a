/* RELAX NG grammars that include each other, more than a thousand deep.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 * proves: CVE-2026-0989.patch
 */
#include "driver.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlIO.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAMMAR "<grammar xmlns='http://relaxng.org/ns/structure/1.0'>"
enum { DEPTH = 1100 };

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }
static void silent(void *context, xmlErrorPtr error) { (void)context, (void)error; }

static int mine(const char *name) { return !strncmp(name, "chain:", 6); }

/* chain:N includes chain:N-1; chain:0 is the end. */
static void *open_link(const char *name) {
    int left = atoi(name + 6);
    char text[200];
    if (left)
        snprintf(text, sizeof text, GRAMMAR "<include href='chain:%d'/></grammar>", left - 1);
    else
        snprintf(text, sizeof text, GRAMMAR "<start><element name='r'><empty/></element></start>"
                                            "</grammar>");
    FILE *file = fmemopen(NULL, sizeof text, "w+");
    fputs(text, file);
    rewind(file);
    return file;
}
static int read_link(void *file, char *to, int length) {
    return (int)fread(to, 1, (size_t)length, file);
}
static int close_link(void *file) { return fclose(file); }

static const char *grammar_of(int depth) {
    char name[20];
    snprintf(name, sizeof name, "chain:%d", depth);
    xmlRelaxNGParserCtxtPtr context = xmlRelaxNGNewParserCtxt(name);
    xmlRelaxNGSetParserErrors(context, quiet, quiet, NULL);
    xmlRelaxNGSetParserStructuredErrors(context, silent, NULL);
    xmlRelaxNGPtr grammar = xmlRelaxNGParse(context);
    xmlRelaxNGFreeParserCtxt(context);
    xmlRelaxNGFree(grammar);
    return grammar ? "taken" : "refused";
}

void setup(void) {
    xmlInitParser();
    xmlRelaxNGInitTypes();
    xmlSetStructuredErrorFunc(NULL, silent);
    xmlRegisterInputCallbacks(mine, open_link, read_link, close_link);
}

void exercise(void) {
    if (strcmp(grammar_of(5), "taken")) driver_fail("a grammar of six files");
}

const char *prove(void) { return grammar_of(DEPTH); }
