/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libtiff.so.6*
 * link: -ltiff
 * proves: CVE-2023-2731.patch CVE-2023-52356.patch CVE-2025-9900.patch
 */
#include "driver.h"

#include "memory.h"

static const struct kind strips = {COMPRESSION_LZW, PHOTOMETRIC_RGB, 8, 3, 0, 0};
static const struct kind tiles = {COMPRESSION_NONE, PHOTOMETRIC_RGB, 8, 3, 0, 1};
static struct memory with_strips, with_tiles, damaged;
static int complaints; /* of an earlier error */

static int listen(TIFF *t, void *data, const char *module, const char *format, va_list arguments) {
    (void)t, (void)data, (void)module, (void)arguments;
    complaints += strstr(format, "previous error") != NULL;
    return 1;
}

static int after_an_error(void) {
    unsigned char line[SIDE * 3];
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    TIFFOpenOptionsSetErrorHandlerExtR(options, listen, NULL);
    damaged.at = 0, complaints = 0;
    TIFF *t = TIFFClientOpenExt("memory", "rm", &damaged, memory_read, memory_write, memory_seek,
                                memory_close, memory_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    for (uint32_t row = 0; row < 4; row++) TIFFReadScanline(t, line, row, 0);
    TIFFClose(t);
    return complaints;
}

/* The first row and the first tile below the image. */
static int below_the_end(struct memory *m) {
    uint32_t part[SIDE * SIDE];
    TIFF *t = memory_open(m, "rm");
    int result =
        TIFFIsTiled(t) ? TIFFReadRGBATile(t, 0, SIDE, part) : TIFFReadRGBAStrip(t, SIDE, part);
    TIFFClose(t);
    return result;
}

/* A raster that is twice as high as the image, one line below the other. */
static unsigned first_line(void) {
    static uint32_t raster[2 * SIDE * SIDE];
    char message[1024];
    TIFFRGBAImage image;
    TIFF *t = memory_open(&with_strips, "rm");
    memset(raster, 0, sizeof raster);
    int result = TIFFRGBAImageBegin(&image, t, 0, message) &&
                 TIFFRGBAImageGet(&image, raster, SIDE, 2 * SIDE);
    TIFFRGBAImageEnd(&image);
    TIFFClose(t);
    return (unsigned)result << 8 | (raster[0] != 0);
}

void setup(void) {
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
    memory_image(&with_strips, strips);
    memory_image(&with_tiles, tiles);
    damaged = with_strips;
    memset(damaged.data + 40, 0xFF, 8);
}

void exercise(void) {
    static _Thread_local struct memory own;
    memory_image(&own, strips);
    if (own.size != with_strips.size) driver_fail("the image is written differently");
}

const char *prove(void) {
    static char line[160];
    int complained = after_an_error(), strip = below_the_end(&with_strips),
        tile = below_the_end(&with_tiles);
    snprintf(line, sizeof line,
             "complaints of an earlier error: %d, strip and tile below the end: %d %d, "
             "first line of a high raster: %x",
             complained, strip, tile, first_line());
    return line;
}
