/* Compresses and decompresses with several threads, block by block; also data that is damaged.
 *
 * object: liblzma.so.5*
 * link: -llzma
 */
#include "driver.h"

#include <lzma.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 200000 };
static unsigned char text[SIZE], packed[SIZE];
static size_t packed_size;

static lzma_ret decode(lzma_stream *stream, const unsigned char *from, size_t size,
                       unsigned char *to) {
    lzma_ret result = LZMA_OK;
    size_t given = 0;
    stream->next_out = to;
    stream->avail_out = SIZE;
    while (result == LZMA_OK) {
        size_t now = size - given < 3000 ? size - given : 3000;
        stream->next_in = from + given;
        stream->avail_in = now;
        result = lzma_code(stream, given + now == size ? LZMA_FINISH : LZMA_RUN);
        given += now - stream->avail_in;
    }
    return result;
}

static void round_of(int damaged) {
    static _Thread_local unsigned char copy[SIZE], out[SIZE];
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_mt threads = {.threads = 2, .memlimit_threading = 64 << 20, .memlimit_stop = 128 << 20};
    memcpy(copy, packed, packed_size);
    if (damaged) memset(copy + packed_size / 2, 0x55, 40);
    if (lzma_stream_decoder_mt(&stream, &threads) != LZMA_OK) {
        driver_fail("no decoder");
        return;
    }
    lzma_ret result = decode(&stream, copy, packed_size, out);
    lzma_end(&stream);
    if (damaged ? result == LZMA_STREAM_END : result != LZMA_STREAM_END || memcmp(out, text, SIZE))
        driver_fail("decoded: %d", result);
}

void setup(void) {
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_mt threads = {.threads = 1, .preset = 0, .block_size = 20000, .check = LZMA_CHECK_CRC32};
    for (unsigned i = 0, n = 1; i < SIZE; i++)
        text[i] = (unsigned char)((n = n * 1103515245 + 12345) >> 28);
    stream.next_in = text, stream.avail_in = SIZE;
    stream.next_out = packed, stream.avail_out = SIZE;
    if (lzma_stream_encoder_mt(&stream, &threads) != LZMA_OK ||
        lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END)
        driver_fail("not compressed");
    packed_size = SIZE - stream.avail_out;
    lzma_end(&stream);
}

void exercise(void) {
    static _Thread_local int round;
    round_of(round++ % 2);
}
