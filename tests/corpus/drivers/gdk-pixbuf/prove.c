/* An animated cursor with a second header.
 *
 * object: libpixbufloader-ani.so
 * link: -I/usr/include/gdk-pixbuf-2.0 -I/usr/include/glib-2.0
 * link: -I/usr/lib/x86_64-linux-gnu/glib-2.0/include
 * link: -lgdk_pixbuf-2.0 -lgobject-2.0 -lglib-2.0 -ljpeg
 * proves: ANI-Reject-files-with-multiple-anih-chunks.patch
 */
#include "driver.h"

#include "pictures.h"

static struct picture good, headers;

void setup(void) {
    list_loaders();
    make_ani(&good, 1);
    make_ani(&headers, 2);
    make_jpeg(3);
    load(good.data, good.size);
}

void exercise(void) {
    if (load(good.data, good.size) != 16) driver_fail("ANI");
    load(gif, sizeof gif);
}

const char *prove(void) { return load(headers.data, headers.size) ? "loaded" : "refused"; }
