/* Catalogs (XML and SGML) and the shell of the debugging module.
 *
 * object: libxml2.so.2*
 * link: -I/usr/include/libxml2 -lxml2
 */
#include "driver.h"

#include <libxml/catalog.h>
#include <libxml/debugXML.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XML "/tmp/naht-catalog.xml"
#define OTHER "/tmp/naht-other.xml"
#define SGML "/tmp/naht-catalog.sgml"
#define HEAD "<catalog xmlns='urn:oasis:names:tc:entity:xmlns:xml:catalog'>"

static const struct {
    const char *name, *text;
} files[] = {
    {XML, HEAD "<uri name='urn:a' uri='a.xml'/><system systemId='s' uri='s.dtd'/>"
               "<rewriteURI uriStartString='urn:r/' rewritePrefix='file:///r/'/>"
               "<delegateURI uriStartString='urn:d' catalog='" OTHER "'/><group prefer='public'>"
               "<public publicId='-//naht//p' uri='p.dtd'/></group>"
               "<nextCatalog catalog='" OTHER "'/><nextCatalog catalog='" OTHER "'/></catalog>"},
    {OTHER, HEAD "<uri name='urn:d1' uri='d1.xml'/><uri name='urn:n' uri='n.xml'/></catalog>"},
    {SGML, "PUBLIC \"-//naht//q\" \"q.dtd\"\nSYSTEM \"t\" 't.dtd'\n-- a comment --\n"
           "DELEGATE \"-//d\" \"none\"\nBASE \"b/\"\nOVERRIDE YES\n"},
};
static const char *const commands[] = {"cd a",     "ls",  "dir b", "setrootns",        "xpath //b",
                                       "cat",      "pwd", "  ",    "unknown and more", "du",
                                       "set <c/>", "bye"};

static void quiet(void *context, const char *message, ...) { (void)context, (void)message; }

static int resolves(xmlCatalogPtr catalog, const char *uri, const char *end) {
    xmlChar *found = xmlACatalogResolveURI(catalog, BAD_CAST uri);
    int good = found && strlen((char *)found) >= strlen(end) &&
               !strcmp((char *)found + strlen((char *)found) - strlen(end), end);
    xmlFree(found);
    return good;
}

static void use_catalogs(void) {
    xmlCatalogPtr catalog = xmlLoadACatalog(XML);
    if (!resolves(catalog, "urn:a", "a.xml") || !resolves(catalog, "urn:d1", "d1.xml") ||
        !resolves(catalog, "urn:n", "n.xml") || !resolves(catalog, "urn:r/x", "r/x"))
        driver_fail("XML catalog");
    xmlFreeCatalog(catalog);
    catalog = xmlLoadSGMLSuperCatalog(SGML);
    xmlChar *found = xmlACatalogResolvePublic(catalog, BAD_CAST "-//naht//q");
    if (!found) driver_fail("SGML catalog");
    xmlFree(found);
    xmlFreeCatalog(catalog);
}

static _Thread_local size_t next;
static char *read_command(char *prompt) {
    (void)prompt;
    return next < sizeof commands / sizeof *commands ? strdup(commands[next++]) : NULL;
}

static void use_shell(void) {
    static char null[] = "/dev/null";
    next = 0;
    FILE *out = fopen(null, "w");
    xmlDocPtr doc = xmlReadMemory("<a><b>t</b></a>", 15, null, NULL, 0);
    xmlShell(doc, null, read_command, out);
    xmlFreeDoc(doc);
    fclose(out);
}

void setup(void) {
    xmlInitParser();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file = fopen(files[i].name, "w");
        if (!file || fputs(files[i].text, file) < 0 || fclose(file))
            driver_fail("no catalog files");
    }
    xmlSetGenericErrorFunc(NULL, quiet);
    use_catalogs();
}

void exercise(void) {
    xmlSetGenericErrorFunc(NULL, quiet);
    use_catalogs();
    use_shell();
}
