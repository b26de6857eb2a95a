/* Opens a document, looks at everything in it, and draws it.
 *
 * object: libpoppler.so.126* libpoppler-glib.so.8*
 * link: -I/usr/include/poppler/glib -I/usr/include/poppler -I/usr/include/glib-2.0
 * link: -I/usr/lib/x86_64-linux-gnu/glib-2.0/include -I/usr/include/cairo
 * link: -lpoppler-glib -lgio-2.0 -lgobject-2.0 -lglib-2.0 -lcairo
 */
#include "driver.h"

#include <cairo.h>
#include <poppler.h>
#include <stdio.h>
#include <string.h>

static char data[8192];
static gsize size;

static int count_structure(PopplerStructureElementIter *iterator) {
    int count = 0;
    do {
        PopplerStructureElement *element = poppler_structure_element_iter_get_element(iterator);
        g_free(poppler_structure_element_get_title(element));
        g_object_unref(element);
        PopplerStructureElementIter *child = poppler_structure_element_iter_get_child(iterator);
        count += 1 + (child ? count_structure(child) : 0);
        if (child) poppler_structure_element_iter_free(child);
    } while (poppler_structure_element_iter_next(iterator));
    return count;
}

static int use_page(PopplerDocument *document, int number) {
    PopplerPage *page = poppler_document_get_page(document, number);
    if (!page) return -1;
    GList *annotations = poppler_page_get_annot_mapping(page),
          *links = poppler_page_get_link_mapping(page);
    int count = (int)g_list_length(annotations);
    char *text = poppler_page_get_text(page);
    if (!strstr(text, "Naht")) driver_fail("the text is %s", text);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, 60, 60);
    cairo_t *cairo = cairo_create(surface);
    cairo_scale(cairo, 0.5, 0.5);
    poppler_page_render(page, cairo);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    g_free(text);
    poppler_page_free_annot_mapping(annotations);
    poppler_page_free_link_mapping(links);
    g_object_unref(page);
    return count;
}

void setup(void) {
    FILE *file = fopen(driver_data("small.pdf"), "rb");
    if (!file || (size = fread(data, 1, sizeof data, file)) < 1000) driver_fail("no document");
    if (file) fclose(file);
}

void exercise(void) {
    GBytes *bytes = g_bytes_new_static(data, size);
    PopplerDocument *document = poppler_document_new_from_bytes(bytes, NULL, NULL);
    g_bytes_unref(bytes);
    if (!document) {
        driver_fail("the document is not opened");
        return;
    }
    int first = use_page(document, 0), second = use_page(document, 1);
    if (poppler_document_get_n_pages(document) != 2 || first < 2 || second < 1 ||
        poppler_document_get_pdf_subtype(document) == POPPLER_PDF_SUBTYPE_UNSET)
        driver_fail("%d and %d annotations", first, second);
    PopplerStructureElementIter *structure = poppler_structure_element_iter_new(document);
    if (!structure || count_structure(structure) < 3) driver_fail("the structure");
    if (structure) poppler_structure_element_iter_free(structure);
    GTree *names = poppler_document_create_dests_tree(document);
    if (names) g_tree_destroy(names);
    g_object_unref(document);
}
