/* Answers that these fixes change: each part of the line belongs to one of them.
 *
 * object: libarchive.so.13*
 * link: -larchive
 * proves: CVE-2025-5916.patch CVE-2025-5918_1.patch CVE-2026-16517.patch
 * proves: CVE-2026-4426_CVE-2026-5121.patch
 */
#include "driver.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CUT "/tmp/naht-cut.tar"

static struct archive *reader(void) {
    struct archive *a = archive_read_new();
    archive_read_support_filter_all(a);
    archive_read_support_format_all(a);
    return a;
}

/* A record whose length leaves no room for its separator. */
static int incomplete_record(void) {
    struct archive *a = reader();
    struct archive_entry *entry;
    archive_read_open_filename(a, driver_data("incomplete.warc"), 10240);
    int result = archive_read_next_header(a, &entry);
    archive_read_free(a);
    return result;
}

/* The second header of an archive that ends in the middle of the first file. */
static int after_the_end(void) {
    struct archive *a = reader();
    struct archive_entry *entry;
    archive_read_open_filename(a, CUT, 512);
    int first = archive_read_next_header(a, &entry), second = archive_read_next_header(a, &entry);
    archive_read_free(a);
    return first * 100 + second;
}

/* What the file says of its size, with a block size that is not allowed. */
static long long size_of_compressed(void) {
    struct archive *a = reader();
    struct archive_entry *entry;
    long long size = 0;
    archive_read_open_filename(a, driver_data("size.iso.gz"), 10240);
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK)
        if (archive_entry_filetype(entry) == AE_IFREG) size = archive_entry_size(entry);
    archive_read_free(a);
    return size;
}

/* With what encryption adds, the size is more than can be written. */
static int huge_encrypted(void) {
    static char room[4096];
    size_t used;
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_zip(a);
    archive_write_set_options(a, "zip:compression=store,zip:encryption=aes256");
    archive_write_set_passphrase(a, "secret");
    archive_write_open_memory(a, room, sizeof room, &used);
    archive_entry_set_pathname(entry, "huge");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, INT64_MAX - 10);
    int result = archive_write_header(a, entry);
    archive_entry_free(entry);
    archive_write_fail(a);
    archive_write_free(a);
    return result;
}

void setup(void) {
    static char room[32768];
    size_t used = 0;
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_ustar(a);
    archive_write_open_memory(a, room, sizeof room, &used);
    archive_entry_set_pathname(entry, "file");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, 10000);
    archive_write_header(a, entry);
    archive_write_data(a, room, 10000);
    archive_entry_free(entry);
    archive_write_close(a);
    archive_write_free(a);
    FILE *file = fopen(CUT, "wb");
    if (!file || fwrite(room, 1, 5120, file) != 5120 || fclose(file)) driver_fail("no archive");
}

void exercise(void) {
    if (after_the_end() == 0) driver_fail("an archive has no end");
}

const char *prove(void) {
    static char line[160];
    snprintf(line, sizeof line, "incomplete record %d, after the end %d, size %lld, huge %d",
             incomplete_record(), after_the_end(), size_of_compressed(), huge_encrypted());
    return line;
}
