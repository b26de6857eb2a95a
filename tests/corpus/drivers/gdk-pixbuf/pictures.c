/* Loads pictures piece by piece: GIF, ANI, JPEG with a colour profile; saves and scales them.
 *
 * object: libgdk_pixbuf-2.0.so.0* libpixbufloader-ani.so libpixbufloader-gif.so
 * link: -I/usr/include/gdk-pixbuf-2.0 -I/usr/include/glib-2.0
 * link: -I/usr/lib/x86_64-linux-gnu/glib-2.0/include
 * link: -lgdk_pixbuf-2.0 -lgobject-2.0 -lglib-2.0 -ljpeg
 */
#include "driver.h"

#include "pictures.h"

static struct picture ani;
static gchar *jpeg;
static gsize jpeg_size;

void setup(void) {
    char profile[401] = "";
    list_loaders();
    make_ani(&ani, 1);
    GdkPixbuf *picture = gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, 40, 30);
    gdk_pixbuf_fill(picture, 0x88442200);
    memset(profile, 'A', sizeof profile - 1); /* zeros, in base 64 */
    if (!gdk_pixbuf_save_to_buffer(picture, &jpeg, &jpeg_size, "jpeg", NULL, "icc-profile", profile,
                                   NULL))
        driver_fail("no JPEG");
    g_object_unref(picture);
    make_jpeg(3);
    load(gif, sizeof gif), load(ani.data, ani.size);
}

void exercise(void) {
    if (load(gif, sizeof gif) != 4) driver_fail("GIF");
    if (load(ani.data, ani.size) != 16) driver_fail("ANI");
    if (load((unsigned char *)jpeg, jpeg_size) != 40) driver_fail("JPEG");
    load(gif, sizeof gif - 12);
    GdkPixbuf *picture = gdk_pixbuf_new_from_file(JPEG_FILE, NULL);
    if (!picture) {
        driver_fail("JPEG from a file");
        return;
    }
    GdkPixbuf *small = gdk_pixbuf_scale_simple(picture, 7, 5, GDK_INTERP_BILINEAR);
    g_object_unref(small);
    g_object_unref(picture);
}
