/* Images encoded and decoded in memory. */
#include <openjpeg-2.5/openjpeg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    size_t size, at;
    unsigned char data[1 << 16];
};

static OPJ_SIZE_T read_some(void *to, OPJ_SIZE_T size, void *user) {
    struct memory *m = user;
    if (m->at >= m->size) return (OPJ_SIZE_T)-1;
    if (size > m->size - m->at) size = m->size - m->at;
    memcpy(to, m->data + m->at, size);
    m->at += size;
    return size;
}
static OPJ_SIZE_T write_some(void *from, OPJ_SIZE_T size, void *user) {
    struct memory *m = user;
    if (m->at + size > sizeof m->data) return (OPJ_SIZE_T)-1;
    memcpy(m->data + m->at, from, size);
    m->at += size;
    if (m->at > m->size) m->size = m->at;
    return size;
}
static OPJ_OFF_T skip(OPJ_OFF_T size, void *user) {
    ((struct memory *)user)->at += (size_t)size;
    return size;
}
static OPJ_BOOL seek(OPJ_OFF_T to, void *user) {
    ((struct memory *)user)->at = (size_t)to;
    return OPJ_TRUE;
}

static opj_stream_t *stream(struct memory *m, OPJ_BOOL reads) {
    opj_stream_t *s = opj_stream_create(4096, reads);
    m->at = 0;
    opj_stream_set_user_data(s, m, NULL);
    opj_stream_set_user_data_length(s, m->size);
    opj_stream_set_read_function(s, read_some);
    opj_stream_set_write_function(s, write_some);
    opj_stream_set_skip_function(s, skip);
    opj_stream_set_seek_function(s, seek);
    return s;
}

enum { SIDE = 64, SOP = 2, EPH = 4 };

static int encode(struct memory *m, int style, OPJ_CODEC_FORMAT format, OPJ_PROG_ORDER order) {
    opj_cparameters_t parameters;
    opj_image_cmptparm_t component[3];
    opj_set_default_encoder_parameters(&parameters);
    parameters.csty = style;
    parameters.prog_order = order;
    parameters.tcp_numlayers = 2;
    parameters.tcp_rates[0] = 8, parameters.tcp_rates[1] = 1;
    parameters.cp_disto_alloc = 1;
    parameters.numresolution = 3;
    parameters.tile_size_on = OPJ_TRUE;
    parameters.cp_tdx = parameters.cp_tdy = 32;
    memset(component, 0, sizeof component);
    for (int i = 0; i < 3; i++)
        component[i] =
            (opj_image_cmptparm_t){.dx = 1, .dy = 1, .w = SIDE, .h = SIDE, .prec = 8, .bpp = 8};
    opj_image_t *image = opj_image_create(3, component, OPJ_CLRSPC_SRGB);
    image->x1 = image->y1 = SIDE;
    for (int i = 0; i < 3; i++)
        for (int at = 0; at < SIDE * SIDE; at++) image->comps[i].data[at] = (at * (i + 3)) % 251;
    m->size = 0;
    opj_codec_t *codec = opj_create_compress(format);
    opj_stream_t *to = stream(m, OPJ_FALSE);
    int good = opj_setup_encoder(codec, &parameters, image) &&
               opj_start_compress(codec, image, to) && opj_encode(codec, to) &&
               opj_end_compress(codec, to);
    opj_stream_destroy(to);
    opj_destroy_codec(codec);
    opj_image_destroy(image);
    return good;
}

static int decode(struct memory *m, OPJ_CODEC_FORMAT format) {
    opj_dparameters_t parameters;
    opj_image_t *image = NULL;
    opj_set_default_decoder_parameters(&parameters);
    opj_codec_t *codec = opj_create_decompress(format);
    opj_stream_t *from = stream(m, OPJ_TRUE);
    int good = opj_setup_decoder(codec, &parameters) && opj_read_header(from, codec, &image) &&
               opj_decode(codec, from, image) && opj_end_decompress(codec, from);
    if (good) good = 1 + image->comps[0].data[100];
    opj_stream_destroy(from);
    opj_destroy_codec(codec);
    opj_image_destroy(image);
    return good;
}
