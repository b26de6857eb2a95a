/* Pictures in memory: GIF and ANI by hand, JPEG by its library. */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>

#define LOADERS "/tmp/naht-loaders.cache"
#define JPEG_FILE "/tmp/naht-two.jpeg"

static const unsigned char gif[] = {
    'G',  'I', 'F', '8', '9', 'a', 4, 0, 4,    0,    0x91, 0,    0,    255,  0,    0,    0,
    255,  0,   0,   0,   255, 9,   9, 9, 0x21, 0xF9, 4,    0,    10,   0,    0,    0,    0x2C,
    0,    0,   0,   0,   4,   0,   4, 0, 0,    2,    5,    0x44, 0x6E, 0x60, 0x39, 0x05, 0,
    0x2C, 0,   0,   0,   0,   4,   0, 4, 0,    0,    2,    3,    0x84, 0x8F, 0x05, 0,    0x3B};

struct picture {
    size_t size;
    unsigned char data[8192];
};

static void put(struct picture *p, const void *data, size_t size) {
    memcpy(p->data + p->size, data, size);
    p->size += size;
}
static void put_number(struct picture *p, guint32 number) {
    guint32 little = GUINT32_TO_LE(number);
    put(p, &little, 4);
}

/* An animated cursor of one frame, with as many headers. */
static void make_ani(struct picture *ani, int headers) {
    static const guint32 header[9] = {36, 1, 1, 0, 0, 0, 0, 1, 1};
    gchar *icon = NULL;
    gsize size = 0;
    GdkPixbuf *frame = gdk_pixbuf_new(GDK_COLORSPACE_RGB, TRUE, 8, 16, 16);
    gdk_pixbuf_fill(frame, 0x336699FF);
    gdk_pixbuf_save_to_buffer(frame, &icon, &size, "ico", NULL, NULL);
    g_object_unref(frame);
    ani->size = 0;
    put(ani, "RIFF", 4);
    put_number(ani, (guint32)(4 + 44 * headers + 20 + (int)size));
    put(ani, "ACON", 4);
    for (int i = 0; i < headers; i++) {
        put(ani, "anih", 4);
        put_number(ani, 36);
        for (int n = 0; n < 9; n++) put_number(ani, header[n]);
    }
    put(ani, "LIST", 4);
    put_number(ani, (guint32)(12 + size));
    put(ani, "framicon", 8);
    put_number(ani, (guint32)size);
    put(ani, icon, size);
    g_free(icon);
}

static void make_jpeg(int components) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char line[4 * 16];
    JSAMPROW row = line;
    FILE *file = fopen(JPEG_FILE, "wb");
    memset(line, 99, sizeof line);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = jpeg.image_height = 16;
    jpeg.input_components = components;
    jpeg.in_color_space = components == 3 ? JCS_RGB : JCS_UNKNOWN;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) jpeg_write_scanlines(&jpeg, &row, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

/* The list of loaders is made when the package is installed, and not when it is unpacked. */
static void list_loaders(void) {
    if (system("/usr/lib/*/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders > " LOADERS)) perror("loaders");
    setenv("GDK_PIXBUF_MODULE_FILE", LOADERS, 1);
}

/* The width; 0: refused. */
static int load(const unsigned char *data, size_t size) {
    GdkPixbufLoader *loader = gdk_pixbuf_loader_new();
    gboolean good = TRUE;
    int width = 0;
    for (size_t at = 0; good && at < size; at += 100)
        good = gdk_pixbuf_loader_write(loader, data + at, size - at < 100 ? size - at : 100, NULL);
    if (!gdk_pixbuf_loader_close(loader, NULL)) good = FALSE;
    GdkPixbuf *picture = good ? gdk_pixbuf_loader_get_pixbuf(loader) : NULL;
    if (picture) width = gdk_pixbuf_get_width(picture);
    g_object_unref(loader);
    return width;
}
