/* A catalog that names the next one several times, and blank lines in the shell.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 * proves: 01-4af23b523.patch CVE-2026-1757.patch
 */
#include "driver.h"

#include <libxml/catalog.h>
#include <libxml/debugXML.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOG "/tmp/naht-repeated.xml"
#define EMPTY "/tmp/naht-empty.xml"
#define HEAD "<catalog xmlns='urn:oasis:names:tc:entity:xmlns:xml:catalog'>"
#define REPEATED HEAD NEXT NEXT NEXT "</catalog>"
#define NEXT "<nextCatalog catalog='" EMPTY "'/>"

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }

static int next_catalogs(const char *file) {
    char *dumped = NULL;
    size_t size;
    FILE *out = open_memstream(&dumped, &size);
    xmlCatalogPtr catalog = xmlLoadACatalog(file);
    xmlFree(xmlACatalogResolveURI(catalog, BAD_CAST "urn:a"));
    xmlACatalogDump(catalog, out);
    fclose(out);
    xmlFreeCatalog(catalog);
    int count = 0;
    for (char *at = dumped; (at = strstr(at, "<nextCatalog")); at++) count++;
    free(dumped);
    return count;
}

/* Of a size that gets a mapping of its own. */
static _Thread_local int lines;
static char *read_blank(char *prompt) {
    (void)prompt;
    if (lines++ > 4) return NULL;
    char *line = malloc(1 << 20);
    memset(line, ' ', 1 << 20);
    line[(1 << 20) - 1] = 0;
    return line;
}

static int lines_not_freed(void) {
    static char null[] = "/dev/null";
    size_t before = mallinfo2().hblks;
    FILE *out = fopen(null, "w");
    xmlDocPtr doc = xmlReadMemory("<a/>", 4, null, NULL, 0);
    lines = 0;
    xmlShell(doc, null, read_blank, out);
    xmlFreeDoc(doc);
    fclose(out);
    return (int)(mallinfo2().hblks - before);
}

static void save(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    if (!file || fputs(text, file) < 0 || fclose(file)) driver_fail("no catalog");
}

void setup(void) {
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    xmlInitParser();
    save(CATALOG, REPEATED);
    save(EMPTY, HEAD "</catalog>");
    next_catalogs(CATALOG);
}

void exercise(void) {
    xmlSetGenericErrorFunc(NULL, quiet);
    if (next_catalogs(CATALOG) < 1) driver_fail("no next catalog");
}

const char *prove(void) {
    static char line[100];
    static int asked;
    char fresh[64]; /* the library keeps what it has parsed once */
    snprintf(fresh, sizeof fresh, "/tmp/naht-repeated-%d.xml", asked++);
    save(fresh, REPEATED);
    xmlSetGenericErrorFunc(NULL, quiet);
    snprintf(line, sizeof line, "%d next catalogs, %d lines not freed", next_catalogs(fresh),
             lines_not_freed());
    return line;
}
