/* TIFF files in memory. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

struct memory {
    size_t size, at;
    unsigned char data[1 << 16];
};

static tmsize_t memory_read(thandle_t h, void *to, tmsize_t size) {
    struct memory *m = h;
    size_t left = m->at < m->size ? m->size - m->at : 0;
    if ((size_t)size > left) size = (tmsize_t)left;
    memcpy(to, m->data + m->at, (size_t)size);
    m->at += (size_t)size;
    return size;
}
static tmsize_t memory_write(thandle_t h, void *from, tmsize_t size) {
    struct memory *m = h;
    if (m->at + (size_t)size > sizeof m->data) return -1;
    memcpy(m->data + m->at, from, (size_t)size);
    m->at += (size_t)size;
    if (m->at > m->size) m->size = m->at;
    return size;
}
static toff_t memory_seek(thandle_t h, toff_t offset, int from) {
    struct memory *m = h;
    return m->at = offset + (from == SEEK_CUR ? m->at : from == SEEK_END ? m->size : 0);
}
static int memory_close(thandle_t h) {
    (void)h;
    return 0;
}
static toff_t memory_size(thandle_t h) { return ((struct memory *)h)->size; }

static TIFF *memory_open(struct memory *m, const char *mode) {
    m->at = 0;
    return TIFFClientOpen("memory", mode, m, memory_read, memory_write, memory_seek, memory_close,
                          memory_size, NULL, NULL);
}

enum { SIDE = 32 };
/* subsampling: two digits */
struct kind {
    int compression, photometric, bits, samples, subsampling, tiled;
};

static void memory_image(struct memory *m, struct kind k) {
    unsigned char line[SIDE * 64];
    m->size = 0;
    TIFF *t = memory_open(m, "wm");
    if (!t) return;
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, SIDE);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, SIDE);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, k.bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, k.samples);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, k.photometric);
    TIFFSetField(t, TIFFTAG_COMPRESSION, k.compression);
    if (k.photometric == PHOTOMETRIC_LOGLUV) {
        TIFFSetField(t, TIFFTAG_SGILOGDATAFMT, SGILOGDATAFMT_FLOAT);
        TIFFSetField(t, TIFFTAG_SGILOGENCODE, SGILOGENCODE_NODITHER);
        TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_INT);
    }
    if (k.photometric == PHOTOMETRIC_SEPARATED)
        TIFFSetField(t, TIFFTAG_INKNAMES, 20, "cyan\0ma\0yellow\0black");
    if (k.subsampling)
        TIFFSetField(t, TIFFTAG_YCBCRSUBSAMPLING, k.subsampling / 10, k.subsampling % 10);
    if (k.tiled) TIFFSetField(t, TIFFTAG_TILEWIDTH, 16), TIFFSetField(t, TIFFTAG_TILELENGTH, 16);
    else TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 8);
    for (size_t i = 0; i < sizeof line; i++) line[i] = (unsigned char)(i * 7 % 251);
    if (k.photometric == PHOTOMETRIC_LOGLUV)
        for (size_t i = 0; i < SIDE * 3; i++) ((float *)line)[i] = 0.25f + 0.01f * (float)(i % 7);
    if (k.tiled)
        for (uint32_t i = 0; i < TIFFNumberOfTiles(t); i++)
            TIFFWriteEncodedTile(t, i, line, TIFFTileSize(t));
    else if (k.subsampling)
        for (uint32_t i = 0; i < TIFFNumberOfStrips(t); i++)
            TIFFWriteEncodedStrip(t, i, line, TIFFStripSize(t));
    else
        for (uint32_t i = 0; i < SIDE; i++) TIFFWriteScanline(t, line, i, 0);
    TIFFClose(t);
}
