/* Reads what the core needs of /proc: start time, thread state, mappings. */
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_file(const char *path, char *buffer, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t got = read(file, buffer, size - 1);
    close(file);
    if (got >= 0)
        buffer[got] = 0;
    return got;
}

/* The command in parentheses may hold any byte, so fields count from the last ')'. */
static const char *after_command(const char *stat)
{
    const char *end = strrchr(stat, ')');
    return end && end[1] == ' ' ? end + 2 : NULL;
}

uint64_t naht_start_time(pid_t pid)
{
    char path[64], stat[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_file(path, stat, sizeof stat) <= 0)
        return 0;
    const char *field = after_command(stat);
    for (int skip = 3; field && skip < 22; skip++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    return field ? strtoull(field, NULL, 10) : 0;
}

char naht_thread_state(pid_t pid, pid_t thread)
{
    char path[96], stat[1024];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, thread);
    if (read_file(path, stat, sizeof stat) <= 0)
        return 0;
    const char *field = after_command(stat);
    return field ? *field : 0;
}

bool naht_run_time(pid_t pid, pid_t thread, uint64_t *nanoseconds)
{
    char path[96], text[128], *end;
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, thread);
    if (read_file(path, text, sizeof text) <= 0)
        return false;
    *nanoseconds = strtoull(text, &end, 10);
    return end != text && *end == ' ';
}

static char *read_whole(const char *path)
{
    size_t capacity = 1 << 18, size = 0;
    char *text = malloc(capacity);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 || !text ? -1 : 1;
    while (got > 0) {
        got = read(file, text + size, capacity - size - 1);
        size += got > 0 ? (size_t)got : 0;
        if (got > 0 && capacity - size < 4096) {
            char *larger = capacity < (1u << 28) ? realloc(text, capacity *= 2) : NULL;
            got = larger ? 1 : -1;
            text = larger ? larger : text;
        }
    }
    if (file >= 0)
        close(file);
    if (got < 0) {
        free(text);
        return NULL;
    }
    text[size] = 0;
    return text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

long naht_read_mappings(pid_t pid, struct naht_mapping **mappings)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    char *text = read_whole(path);
    *mappings = text ? calloc(count_lines(text) + 1, sizeof **mappings) : NULL;
    if (!*mappings) {
        free(text);
        return -1;
    }
    long count = 0;
    for (char *line = text; line && *line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        struct naht_mapping *mapping = &(*mappings)[count];
        char *end;
        mapping->start = strtoull(line, &end, 16);
        if (*end != '-')
            continue;
        mapping->end = strtoull(end + 1, &end, 16);
        if (end[0] != ' ' || !end[1] || !end[2])
            continue;
        mapping->readable = end[1] == 'r';
        mapping->writable = end[2] == 'w';
        count++;
    }
    free(text);
    return count;
}

const struct naht_mapping *naht_find_mapping(
    const struct naht_mapping *mappings, long count, uint64_t address)
{
    for (long i = 0; i < count; i++)
        if (mappings[i].start <= address && address < mappings[i].end)
            return &mappings[i];
    return NULL;
}
