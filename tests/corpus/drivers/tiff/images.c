/* Writes images of many kinds into memory and reads them again, whole, by strips and by tiles; also
 * with unknown tags and with a damaged end.
 *
 * object: libtiff.so.6*
 * link: -ltiff
 */
#include "driver.h"

#include "memory.h"

static const struct kind kinds[] = {
    {COMPRESSION_LZW, PHOTOMETRIC_RGB, 8, 3, 0, 0},
    {COMPRESSION_LZW, PHOTOMETRIC_MINISBLACK, 8, 1, 0, 0},
    {COMPRESSION_NONE, PHOTOMETRIC_SEPARATED, 8, 4, 0, 0},
    {COMPRESSION_PACKBITS, PHOTOMETRIC_RGB, 8, 4, 0, 1},
    {COMPRESSION_SGILOG, PHOTOMETRIC_LOGLUV, 16, 3, 0, 0},
    {COMPRESSION_ADOBE_DEFLATE, PHOTOMETRIC_RGB, 16, 3, 0, 0},
    {COMPRESSION_SGILOG24, PHOTOMETRIC_LOGLUV, 16, 3, 0, 0},
    {COMPRESSION_NONE, PHOTOMETRIC_YCBCR, 8, 3, 22, 0},
    {COMPRESSION_NONE, PHOTOMETRIC_YCBCR, 8, 3, 44, 0},
    {COMPRESSION_NONE, PHOTOMETRIC_YCBCR, 8, 3, 12, 0},
    {COMPRESSION_NONE, PHOTOMETRIC_YCBCR, 8, 3, 42, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };
static struct memory made[KINDS];

static int read_whole(TIFF *t) {
    static _Thread_local uint32_t raster[SIDE * SIDE];
    return TIFFReadRGBAImageOriented(t, SIDE, SIDE, raster, ORIENTATION_TOPLEFT, 0);
}

static int read_parts(TIFF *t) {
    uint32_t part[SIDE * SIDE];
    int good = 1;
    for (uint32_t row = 0; row < SIDE; row += 16) {
        if (!TIFFIsTiled(t)) good &= TIFFReadRGBAStripExt(t, row, part, 0);
        else good &= TIFFReadRGBATileExt(t, 0, row, part, 0);
    }
    return good;
}

void setup(void) {
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
    for (int i = 0; i < KINDS; i++) memory_image(&made[i], kinds[i]);
}

static void read_again(int kind, int damaged) {
    static _Thread_local struct memory copy;
    unsigned char line[SIDE * 64];
    copy = made[kind];
    if (damaged) memset(copy.data + 8, 0xFF, 64);
    TIFF *t = memory_open(&copy, "rm");
    if (!t) {
        driver_fail("kind %d can't be opened", kind);
        return;
    }
    int whole = read_whole(t), parts = read_parts(t);
    if (!damaged && (!whole || !parts)) driver_fail("kind %d: %d %d", kind, whole, parts);
    if (!TIFFIsTiled(t))
        for (uint32_t row = 0; row < 4; row++) TIFFReadScanline(t, line, row, 0);
    TIFFClose(t);
}

/* The tag of the image's description becomes one that nobody knows. */
static void read_unknown_tag(void) {
    static _Thread_local struct memory copy;
    copy = made[0];
    size_t directory = (size_t)copy.data[4] | (size_t)copy.data[5] << 8;
    size_t last = directory + 2 + 12 * (size_t)(copy.data[directory] - 1);
    copy.data[last] = 0xFD, copy.data[last + 1] = 0xFD;
    TIFF *t = memory_open(&copy, "rm");
    if (!t) return;
    TIFFReadEXIFDirectory(t, directory);
    TIFFClose(t);
}

void exercise(void) {
    static _Thread_local int round;
    static _Thread_local struct memory own;
    int kind = round++ % KINDS;
    memory_image(&own, kinds[kind]);
    if (own.size != made[kind].size || memcmp(own.data, made[kind].data, own.size))
        driver_fail("kind %d is written differently", kind);
    read_again(kind, 0);
    read_again(kind, kinds[kind].photometric != PHOTOMETRIC_LOGLUV);
    read_unknown_tag();
}
