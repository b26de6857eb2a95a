/* A PC/SC service inside of the driver: one reader with one card for each thread. The card is a
 * small ISO 7816 file system that can be written to; what it does not know it agrees to.
 *
 * OpenSC finds it because the configuration says `provider_library = "";`: dlopen of that is the
 * program itself, which is linked with -rdynamic. */
#include <PCSC/winscard.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 200, MF = 0x3F00 };
struct file {
    unsigned id, parent, is_df;
    size_t size;
    BYTE *data;
};
struct card {
    const char *atr;      /* hexadecimal */
    int generous;         /* every file is there, and holds a certificate */
    const BYTE *greeting; /* answers that an application is selected */
    size_t greeting_size;
    struct file files[FILES];
    size_t count, file, df;
};
#ifndef CARD_STORAGE
#define CARD_STORAGE _Thread_local
#endif
static CARD_STORAGE struct card *card; /* in the reader */

static void card_reset(void) {
    for (size_t i = 0; i < card->count; i++) free(card->files[i].data);
    card->files[0] = (struct file){MF, 0, 1, 0, NULL};
    card->count = 1, card->file = card->df = 0;
}

static size_t card_make(unsigned id, unsigned parent, unsigned is_df, size_t size) {
    if (card->count == FILES || size > 65536) return 0;
    card->files[card->count] = (struct file){id, parent, is_df, size, calloc(1, size + 1)};
    return card->count++;
}

static BYTE certificate[1024];
static size_t certificate_size;
static inline void read_certificate(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) certificate_size = fread(certificate, 1, sizeof certificate, file), fclose(file);
}

static size_t card_find(unsigned id, unsigned parent) {
    for (size_t i = 1; i < card->count; i++)
        if (card->files[i].id == id && card->files[i].parent == parent) return i;
    size_t made = card->generous ? card_make(id, parent, 0, certificate_size) : 0;
    if (made) memcpy(card->files[made].data, certificate, certificate_size);
    return made;
}

/* From a path of two bytes each; 0: there is no such file. */
static int card_walk(const BYTE *path, size_t length, size_t at) {
    for (; length >= 2; path += 2, length -= 2) {
        unsigned id = (unsigned)(path[0] << 8 | path[1]);
        size_t found = card_find(id, (unsigned)at);
        if (id == MF) found = 0;
        else if (!found && !(found = card_find(id, card->files[at].parent))) return 0;
        at = found;
    }
    card->file = at;
    card->df = card->files[at].is_df ? at : card->files[at].parent;
    return 1;
}

static size_t card_describe(BYTE *out) {
    const struct file *f = &card->files[card->file];
    BYTE text[] = {0x6F,
                   0x17,
                   0x80,
                   2,
                   (BYTE)(f->size >> 8),
                   (BYTE)f->size,
                   0x82,
                   1,
                   f->is_df ? 0x38 : 0x01,
                   0x83,
                   2,
                   (BYTE)(f->id >> 8),
                   (BYTE)f->id,
                   0x86,
                   3,
                   0,
                   0,
                   0,
                   0x8A,
                   1,
                   5,
                   0x85,
                   2,
                   0,
                   0};
    memcpy(out, text, sizeof text);
    return sizeof text;
}

static int card_select(const BYTE *a, const BYTE *data, size_t length) {
    unsigned id = length >= 2 ? (unsigned)(data[0] << 8 | data[1]) : MF;
    if (a[2] == 4) { /* an application: a directory that is made when it is asked for */
        id = 0xDF00u + data[length ? length - 1 : 0] % 16;
        size_t found = card_find(id, 0);
        if (!found) found = card_make(id, 0, 1, 0);
        card->file = card->df = found;
        return 1;
    }
    if (card_walk(data, length, a[2] == 8 ? 0 : card->df)) return 1;
    return a[2] != 8 && card_walk(data, length, 0);
}

static size_t card_create(const BYTE *data, size_t length) {
    unsigned id = 0, is_df = 0;
    size_t size = 0;
    for (size_t i = 2; i + 2 <= length && i + 2 + data[i + 1] <= length; i += 2u + data[i + 1]) {
        if (!data[i + 1]) continue;
        unsigned value = data[i + 2];
        if (data[i + 1] >= 2) value = value << 8 | data[i + 3];
        if (data[i] == 0x80 || data[i] == 0x81) size = value;
        if (data[i] == 0x82) is_df = data[i + 2] == 0x38;
        if (data[i] == 0x83) id = value;
    }
    size_t made = card_find(id, (unsigned)card->df);
    if (!made) made = card_make(id, (unsigned)card->df, is_df, size);
    if (made) card->file = made, card->df = is_df ? made : card->df;
    return made;
}

/* The data of the answer; `status` is 9000 unless told. */
static size_t card_answer(const BYTE *a, const BYTE *data, size_t length, size_t wanted, BYTE *out,
                          unsigned *status) {
    struct file *f = &card->files[card->file];
    size_t offset = (size_t)((a[2] & 0x7F) << 8 | a[3]);
    static const BYTE information[20] = {0, 0, 0, 0, 0, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const BYTE abilities[11] = {1, 0, 0x0F, 8, 0, 0, 192, 1, 0, 1, 0};
    switch (a[1]) {
    case 0xA4:
        if (!card_select(a, data, length)) *status = 0x6A82;
        if (a[2] == 4 && card->greeting_size)
            return memcpy(out, card->greeting, card->greeting_size), card->greeting_size;
        return *status == 0x9000 && (a[3] & 0x0C) != 0x0C ? card_describe(out) : 0;
    case 0xE0:
        if (!card_create(data, length)) *status = 0x6A84;
        return 0;
    case 0xE4: f->id = 0, f->parent = FILES, card->file = card->df; return 0;
    case 0xB0:
        if (offset > f->size) *status = 0x6B00;
        if (offset >= f->size) return 0;
        if (wanted > f->size - offset) wanted = f->size - offset;
        memcpy(out, f->data + offset, wanted);
        return wanted;
    case 0xD6:
        if (offset + length > f->size) *status = 0x6A84;
        else memcpy(f->data + offset, data, length);
        return 0;
    case 0x2A: /* secret keys change nothing, others are of 1024 bits */
        if (a[2] == 0x84 || a[3] == 0x84) return memcpy(out, data, length), length;
        memset(out, 0x5A, 128);
        out[0] = 0, out[1] = 2, out[120] = 0;
        return 128;
    case 0xCA:
    case 0xCB:
        if (a[3] == 0xA0) return memcpy(out, information, sizeof information), sizeof information;
        if (a[3] == 0xAA) return memcpy(out, abilities, sizeof abilities), sizeof abilities;
        if (wanted > 128) wanted = 128;
        memset(out, 0xA5, wanted);
        return wanted;
    case 0x87: /* a challenge that is asked for as a template */
        return memcpy(out, "\x7C\x0A\x81\x08\1\2\3\4\5\6\7\x8", 12), 12;
    case 0x58: /* the objects of a card without files: one, which is its directory */
        if (a[2]) *status = 0x9C12;
        return a[2] ? 0 : (memcpy(out, "\x3F\0\x2F\0\0\0\0\x20\0\0\0\0\0\0", 14), 14);
    case 0x84:
    case 0xB2:
    case 0x56:
        if (wanted > 256) wanted = 256;
        memset(out, 0x11, wanted);
        return wanted;
    default: return 0;
    }
}

LONG SCardTransmit(SCARDHANDLE h, const SCARD_IO_REQUEST *p, LPCBYTE apdu, DWORD length,
                   SCARD_IO_REQUEST *q, LPBYTE out, LPDWORD room) {
    (void)h, (void)p, (void)q;
    BYTE answer[512];
    unsigned status = 0x9000;
    size_t given = 0, wanted = 0;
    const BYTE *data = apdu + 5;
    if (length > 6 && !apdu[4]) { /* extended lengths */
        data += 2, given = length > 7 ? (size_t)(apdu[5] << 8 | apdu[6]) : 0, wanted = 256;
    } else if (length == 5) {
        wanted = apdu[4] ? apdu[4] : 256;
    } else if (length > 5) {
        given = apdu[4];
        if (length == 6 + given) wanted = apdu[5 + given] ? apdu[5 + given] : 256;
    }
    if (length < 4 || data + given > apdu + length) given = 0;
    size_t size = card_answer(apdu, data, given, wanted, answer, &status);
    if (size + 2 > *room) size = *room - 2;
    memcpy(out, answer, size);
    out[size] = (BYTE)(status >> 8), out[size + 1] = (BYTE)status;
    *room = size + 2;
    return SCARD_S_SUCCESS;
}

static DWORD card_atr(BYTE *out) {
    DWORD length = 0;
    for (const char *at = card->atr; at[0] && at[1]; at += 2) sscanf(at, "%2hhx", &out[length++]);
    return length;
}

LONG SCardEstablishContext(DWORD s, LPCVOID a, LPCVOID b, LPSCARDCONTEXT c) {
    (void)s, (void)a, (void)b;
    *c = 1;
    return SCARD_S_SUCCESS;
}
LONG SCardReleaseContext(SCARDCONTEXT c) {
    (void)c;
    return SCARD_S_SUCCESS;
}
LONG SCardListReaders(SCARDCONTEXT c, LPCSTR g, LPSTR names, LPDWORD length) {
    static const char reader[] = "naht\0";
    (void)c, (void)g;
    if (names) memcpy(names, reader, sizeof reader);
    *length = sizeof reader;
    return SCARD_S_SUCCESS;
}
LONG SCardGetStatusChange(SCARDCONTEXT c, DWORD t, SCARD_READERSTATE *state, DWORD count) {
    (void)c, (void)t;
    for (DWORD i = 0; i < count; i++) {
        state[i].dwEventState = SCARD_STATE_PRESENT;
        if (!(state[i].dwCurrentState & SCARD_STATE_PRESENT))
            state[i].dwEventState |= SCARD_STATE_CHANGED;
        state[i].cbAtr = card_atr(state[i].rgbAtr);
    }
    return SCARD_S_SUCCESS;
}
LONG SCardConnect(SCARDCONTEXT c, LPCSTR r, DWORD s, DWORD p, LPSCARDHANDLE h, LPDWORD active) {
    (void)c, (void)r, (void)s, (void)p;
    *h = 1, *active = SCARD_PROTOCOL_T1;
    return SCARD_S_SUCCESS;
}
LONG SCardReconnect(SCARDHANDLE h, DWORD s, DWORD p, DWORD i, LPDWORD active) {
    (void)h, (void)s, (void)p, (void)i;
    *active = SCARD_PROTOCOL_T1;
    return SCARD_S_SUCCESS;
}
LONG SCardDisconnect(SCARDHANDLE h, DWORD d) {
    (void)h, (void)d;
    return SCARD_S_SUCCESS;
}
LONG SCardBeginTransaction(SCARDHANDLE h) {
    (void)h;
    return SCARD_S_SUCCESS;
}
LONG SCardEndTransaction(SCARDHANDLE h, DWORD d) {
    (void)h, (void)d;
    return SCARD_S_SUCCESS;
}
LONG SCardStatus(SCARDHANDLE h, LPSTR n, LPDWORD l, LPDWORD s, LPDWORD p, LPBYTE atr, LPDWORD a) {
    (void)h, (void)n, (void)l;
    if (s) *s = SCARD_PRESENT | SCARD_POWERED | SCARD_NEGOTIABLE;
    if (p) *p = SCARD_PROTOCOL_T1;
    if (atr && a) *a = card_atr(atr);
    return SCARD_S_SUCCESS;
}
LONG SCardCancel(SCARDCONTEXT c) {
    (void)c;
    return SCARD_S_SUCCESS;
}
LONG SCardControl(SCARDHANDLE h, DWORD c, LPCVOID in, DWORD li, LPVOID out, DWORD lo, LPDWORD l) {
    (void)h, (void)c, (void)in, (void)li, (void)out, (void)lo;
    *l = 0;
    return SCARD_E_UNSUPPORTED_FEATURE;
}
LONG SCardGetAttrib(SCARDHANDLE h, DWORD a, LPBYTE out, LPDWORD l) {
    (void)h, (void)a, (void)out, (void)l;
    return SCARD_E_UNSUPPORTED_FEATURE;
}
