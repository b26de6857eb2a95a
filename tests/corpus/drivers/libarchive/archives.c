/* Reads archives of many formats (whole files from the disk by every way of opening, and damaged
 * ones), and writes and reads others in memory.
 *
 * object: libarchive.so.13*
 * link: -larchive
 */
#include "driver.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 100000, ROOM = 1 << 18 };

static struct archive *reader(void) {
    struct archive *a = archive_read_new();
    archive_read_support_filter_all(a);
    archive_read_support_format_all(a);
    return a;
}

/* The entries, or what the first error was. `skip`: do not read every other one. */
static int read_all(struct archive *a, int skip) {
    struct archive_entry *entry;
    char block[16384];
    int result, count = 0;
    while ((result = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
        la_ssize_t got = 0, sum = 0;
        count++;
        if (skip && count % 2) continue;
        while (sum < MOST && (got = archive_read_data(a, block, sizeof block)) > 0) sum += got;
        if (got < 0) break;
        archive_seek_data(a, 0, SEEK_SET);
    }
    archive_read_free(a);
    return result == ARCHIVE_EOF ? count : result;
}

static const struct sample {
    const char *name;
    int entries;
} samples[] = {{"plain.rar", 5},   {"normal.rar", 6},      {"solid.rar5", 4},
               {"filter.rar", 0},  {"arm.rar5", 0},        {"zisofs.iso.Z", 0},
               {"size.iso.gz", 2}, {"incomplete.warc", 0}, {"window.rar", 1}};

static void read_sample(const struct sample *sample, int way) {
    struct archive *a = reader();
    const char *path = driver_data(sample->name);
    FILE *file = NULL;
    int fd = -1, opened;
    if (way == 0) opened = archive_read_open_filename(a, path, 4096);
    else if (way == 1) opened = archive_read_open_fd(a, fd = open(path, O_RDONLY), 4096);
    else opened = archive_read_open_FILE(a, file = fopen(path, "rb"));
    int found = read_all(a, way == 1);
    if (opened || (sample->entries && found != sample->entries))
        driver_fail("%s: %d %d", sample->name, opened, found);
    if (file) fclose(file);
    if (fd >= 0) close(fd);
}

static const struct format {
    const char *name, *options;
    int (*set)(struct archive *);
} formats[] = {{"pax", "", archive_write_set_format_pax},
               {"ustar", "", archive_write_set_format_ustar},
               {"cpio", "", archive_write_set_format_cpio_newc},
               {"iso", "", archive_write_set_format_iso9660},
               {"zip", "zip:compression=store,zip:encryption=aes256", archive_write_set_format_zip},
               {"warc", "", archive_write_set_format_warc},
               {"7zip", "7zip:compression=deflate", archive_write_set_format_7zip}};

static size_t write_one(const struct format *format, char *to) {
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    char name[220];
    size_t used = 0;
    format->set(a);
    archive_write_set_bytes_per_block(a, 512);
    archive_write_set_passphrase(a, "secret");
    archive_write_set_options(a, format->options);
    archive_write_open_memory(a, to, ROOM, &used);
    for (int i = 0; i < 3; i++) {
        memset(name, 'a' + i, sizeof name);
        for (int at = 40; at < 200; at += 40) name[at] = '/';
        name[i == 2 ? 180 : 20] = 0;
        archive_entry_clear(entry);
        archive_entry_set_pathname(entry, name);
        archive_entry_set_size(entry, 5000);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_mtime(entry, 1000000000, 5);
        if (archive_write_header(a, entry) < ARCHIVE_WARN) continue;
        for (int part = 0; part < 5; part++) {
            static const char text[1000] = "the content of a file";
            archive_write_data(a, text, sizeof text);
        }
    }
    archive_entry_free(entry);
    archive_write_close(a);
    archive_write_free(a);
    return used;
}

static void write_and_read(const struct format *format) {
    static _Thread_local char buffer[ROOM];
    size_t used = write_one(format, buffer);
    struct archive *a = reader();
    archive_read_add_passphrase(a, "secret");
    archive_read_open_memory(a, buffer, used);
    int found = read_all(a, 0);
    if (found < 1) driver_fail("%s: %d entries of %zu bytes", format->name, found, used);
}

static void read_disk(void) {
    struct archive *a = archive_read_disk_new();
    struct archive_entry *entry = archive_entry_new();
    const void *block;
    size_t size;
    la_int64_t offset;
    archive_read_disk_open(a, driver_data("plain.rar"));
    if (archive_read_next_header2(a, entry) != ARCHIVE_OK ||
        archive_read_data_block(a, &block, &size, &offset) != ARCHIVE_OK)
        driver_fail("a file of the disk");
    archive_entry_free(entry);
    archive_read_free(a);
}

void exercise(void) {
    static _Thread_local unsigned round;
    unsigned now = round++;
    read_sample(&samples[now % 9], (int)(now / 9 % 3));
    write_and_read(&formats[now % 7]);
    read_disk();
}
