/* Writes sounds of several formats into memory and reads them again; also to a place that is full.
 *
 * object: libsndfile.so.1*
 * link: -lsndfile -lm
 */
#include "driver.h"

#include <math.h>
#include <sndfile.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    sf_count_t size, at, room;
    unsigned char data[1 << 18];
};

static sf_count_t length(void *user) { return ((struct memory *)user)->size; }
static sf_count_t seek(sf_count_t offset, int from, void *user) {
    struct memory *m = user;
    return m->at = offset + (from == SEEK_CUR ? m->at : from == SEEK_END ? m->size : 0);
}
static sf_count_t read_some(void *to, sf_count_t size, void *user) {
    struct memory *m = user;
    if (size > m->size - m->at) size = m->size > m->at ? m->size - m->at : 0;
    memcpy(to, m->data + m->at, (size_t)size);
    m->at += size;
    return size;
}
static sf_count_t write_some(const void *from, sf_count_t size, void *user) {
    struct memory *m = user;
    if (size > m->room - m->at) size = m->room > m->at ? m->room - m->at : 0;
    memcpy(m->data + m->at, from, (size_t)size);
    m->at += size;
    if (m->at > m->size) m->size = m->at;
    return size;
}
static sf_count_t tell(void *user) { return ((struct memory *)user)->at; }
static SF_VIRTUAL_IO calls = {length, seek, read_some, write_some, tell};

enum { FRAMES = 4000 };
static const int formats[] = {SF_FORMAT_OGG | SF_FORMAT_VORBIS, SF_FORMAT_MAT4 | SF_FORMAT_PCM_16,
                              SF_FORMAT_OGG | SF_FORMAT_OPUS, SF_FORMAT_MAT4 | SF_FORMAT_DOUBLE,
                              SF_FORMAT_WAV | SF_FORMAT_PCM_16};
static float sound[FRAMES];

static int write_sound(struct memory *m, int format, sf_count_t room) {
    SF_INFO info = {.samplerate = 48000, .channels = 1, .format = format};
    m->size = m->at = 0;
    m->room = room;
    SNDFILE *file = sf_open_virtual(&calls, SFM_WRITE, &info, m);
    if (!file) return -1;
    int frames = (int)sf_write_float(file, sound, FRAMES);
    sf_close(file);
    return frames;
}

static int read_sound(struct memory *m) {
    short back[FRAMES];
    SF_INFO info = {0};
    m->at = 0;
    SNDFILE *file = sf_open_virtual(&calls, SFM_READ, &info, m);
    if (!file) return -1;
    int frames = (int)sf_read_short(file, back, FRAMES);
    sf_seek(file, 100, SEEK_SET);
    sf_close(file);
    return frames;
}

void setup(void) {
    for (int i = 0; i < FRAMES; i++) sound[i] = 0.5f * sinf((float)i * 0.05f);
}

void exercise(void) {
    static _Thread_local struct memory own;
    static _Thread_local unsigned round;
    int format = formats[round++ % 5];
    int written = write_sound(&own, format, sizeof own.data), found = read_sound(&own);
    if (written != FRAMES || found != FRAMES) driver_fail("%x: %d %d", format, written, found);
    write_sound(&own, format, 6000);
}
