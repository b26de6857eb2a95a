/* What the drivers call of libcups beside its public headers, and messages in memory. */
#include <cups/cups.h>
#include <cups/ipp.h>
#include <cups/raster.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *_ppdCreateFromIPP(char *buffer, size_t size, ipp_t *supported);
size_t _cups_strlcpy(char *to, const char *from, size_t size);
int _cupsRasterExecPS(cups_page_header2_t *header, int *bits, const char *code);

struct bytes {
    size_t at, size;
    unsigned char data[8192];
};

static inline ssize_t read_bytes(void *from, ipp_uchar_t *to, size_t size) {
    struct bytes *b = from;
    if (size > b->size - b->at) size = b->size - b->at;
    memcpy(to, b->data + b->at, size);
    b->at += size;
    return (ssize_t)size;
}
static inline ssize_t write_bytes(void *to, ipp_uchar_t *from, size_t size) {
    struct bytes *b = to;
    if (size > sizeof b->data - b->size) return -1;
    memcpy(b->data + b->size, from, size);
    b->size += size;
    return (ssize_t)size;
}

static inline ipp_t *printer(const char *model) {
    static const char *const formats[] = {"application/pdf", "image/pwg-raster", "image/urf"};
    static const char *const sizes[] = {"iso_a4_210x297mm", "na_letter_8.5x11in"};
    static const char *const rasters[] = {"sgray_8", "srgb_8"};
    ipp_t *ipp = ippNewRequest(IPP_OP_GET_PRINTER_ATTRIBUTES);
    ippAddString(ipp, IPP_TAG_PRINTER, IPP_TAG_TEXT, "printer-make-and-model", NULL, model);
    ippAddStrings(ipp, IPP_TAG_PRINTER, IPP_TAG_MIMETYPE, "document-format-supported", 3, NULL,
                  formats);
    ippAddStrings(ipp, IPP_TAG_PRINTER, IPP_TAG_KEYWORD, "media-supported", 2, NULL, sizes);
    ippAddString(ipp, IPP_TAG_PRINTER, IPP_TAG_KEYWORD, "media-default", NULL, sizes[0]);
    ippAddStrings(ipp, IPP_TAG_PRINTER, IPP_TAG_KEYWORD, "pwg-raster-document-type-supported", 2,
                  NULL, rasters);
    ippAddResolution(ipp, IPP_TAG_PRINTER, "pwg-raster-document-resolution-supported",
                     IPP_RES_PER_INCH, 300, 300);
    ippAddBoolean(ipp, IPP_TAG_PRINTER, "color-supported", 1);
    ippAddString(ipp, IPP_TAG_PRINTER, IPP_TAG_URI, "printer-more-info", NULL, "http://naht.test/");
    return ipp;
}

/* The lines of the printer's description that begin with this. */
static inline int description(const char *model, const char *line, char *found, size_t room) {
    char name[256], text[512];
    ipp_t *ipp = printer(model);
    int count = 0;
    if (_ppdCreateFromIPP(name, sizeof name, ipp)) {
        FILE *file = fopen(name, "r");
        while (file && fgets(text, sizeof text, file))
            if (!strncmp(text, line, strlen(line)) && ++count)
                snprintf(found, room, "%.*s", (int)strcspn(text, "\n"), text);
        if (file) fclose(file);
        unlink(name);
    }
    ippDelete(ipp);
    return count;
}
