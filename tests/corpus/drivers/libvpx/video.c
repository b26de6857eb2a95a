/* Encodes small moving pictures with VP8 and VP9, with layers, and with the size and the number of
 * threads changed on the way, and decodes them.
 *
 * object: libvpx.so.7*
 * link: -lvpx
 */
#include "driver.h"

#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

enum { SIDE = 64, FRAMES = 5 };
struct way {
    int vp9, layers;
};
static vpx_image_t pictures[FRAMES], small_pictures[FRAMES];

static void paint(vpx_image_t *image, int width, int height, int frame) {
    vpx_img_alloc(image, VPX_IMG_FMT_I420, (unsigned)width, (unsigned)height, 16);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? height / 2 : height); y++)
            for (int x = 0; x < (plane ? width / 2 : width); x++)
                image->planes[plane][y * image->stride[plane] + x] =
                    (unsigned char)((x * 3 + y * 5 + frame * 9) * (plane + 1));
}

static int decode_all(vpx_codec_ctx_t *encoder, vpx_codec_ctx_t *decoder) {
    vpx_codec_iter_t iterator = NULL, pictures_of = NULL;
    const vpx_codec_cx_pkt_t *packet;
    int shown = 0;
    while ((packet = vpx_codec_get_cx_data(encoder, &iterator))) {
        if (packet->kind != VPX_CODEC_CX_FRAME_PKT) continue;
        if (vpx_codec_decode(decoder, packet->data.frame.buf, (unsigned)packet->data.frame.sz, NULL,
                             0))
            return -1;
        pictures_of = NULL;
        while (vpx_codec_get_frame(decoder, &pictures_of)) shown++;
    }
    return shown;
}

static void set_layers(vpx_codec_ctx_t *encoder, vpx_codec_enc_cfg_t *configuration) {
    vpx_svc_extra_cfg_t extra;
    memset(&extra, 0, sizeof extra);
    configuration->ss_number_layers = 2;
    for (int i = 0; i < 2; i++) {
        configuration->layer_target_bitrate[i] = 100;
        configuration->ss_target_bitrate[i] = 100;
        extra.max_quantizers[i] = 56, extra.min_quantizers[i] = 2;
        extra.scaling_factor_num[i] = 1, extra.scaling_factor_den[i] = i ? 1 : 2;
    }
    vpx_codec_enc_config_set(encoder, configuration);
    vpx_codec_control(encoder, VP9E_SET_SVC, 1);
    vpx_codec_control(encoder, VP9E_SET_SVC_PARAMETERS, &extra);
}

static void encode(const struct way *way) {
    vpx_codec_iface_t *to = way->vp9 ? vpx_codec_vp9_cx() : vpx_codec_vp8_cx();
    vpx_codec_iface_t *from = way->vp9 ? vpx_codec_vp9_dx() : vpx_codec_vp8_dx();
    vpx_codec_enc_cfg_t configuration;
    vpx_codec_ctx_t encoder, decoder;
    int shown = 0, got = 0;
    vpx_codec_enc_config_default(to, &configuration, 0);
    configuration.g_w = configuration.g_h = SIDE;
    configuration.g_threads = 1;
    configuration.g_lag_in_frames = 0;
    configuration.rc_end_usage = VPX_CBR;
    configuration.rc_target_bitrate = 200;
    if (vpx_codec_enc_init(&encoder, to, &configuration, 0) ||
        vpx_codec_dec_init(&decoder, from, NULL, 0)) {
        driver_fail("no coder");
        return;
    }
    vpx_codec_control(&encoder, VP8E_SET_CPUUSED, 8);
    if (way->layers) set_layers(&encoder, &configuration);
    for (int i = 0; i < FRAMES; i++) {
        if (i == 3 && !way->layers) {
            configuration.g_w = SIDE / 2;
            configuration.g_h = SIDE;
            if (way->vp9) configuration.g_threads = 2;
            vpx_codec_enc_config_set(&encoder, &configuration);
        }
        vpx_image_t *image = i < 3 || way->layers ? &pictures[i] : &small_pictures[i];
        if (vpx_codec_encode(&encoder, image, i, 1, 0, VPX_DL_REALTIME))
            driver_fail("frame %d: %s", i, vpx_codec_error_detail(&encoder));
        else if ((got = decode_all(&encoder, &decoder)) < 0)
            driver_fail("frame %d is not decoded", i);
        shown += got;
    }
    if (shown < FRAMES) driver_fail("%d frames are shown", shown);
    vpx_codec_destroy(&encoder);
    vpx_codec_destroy(&decoder);
}

void setup(void) {
    for (int i = 0; i < FRAMES; i++) {
        paint(&pictures[i], SIDE, SIDE, i);
        paint(&small_pictures[i], SIDE / 2, SIDE, i);
    }
}

void exercise(void) {
    static const struct way ways[] = {{0, 0}, {1, 0}, {1, 1}};
    static _Thread_local unsigned round;
    encode(&ways[round++ % 3]);
}
