/* Reads and writes target memory. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int naht_open_memory(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* One pwrite within one page is one copy in the kernel: our death cannot cut it in two. */
int naht_write_open(int memory, uint64_t address, const void *data, size_t size)
{
    const uint8_t *next = data;
    while (size) {
        naht_step();
        ssize_t wrote = pwrite(memory, next, size, (off_t)address);
        naht_step();
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? errno : EIO;
        next += wrote;
        address += (uint64_t)wrote;
        size -= (size_t)wrote;
    }
    return 0;
}

int naht_write(int memory, uint64_t address, const void *data, size_t size)
{
    return naht_write_open(memory, address, data, size);
}

/*
 * Kernels from 6.12 on may forbid forced writes through /proc/PID/mem (PROC_MEM_NO_FORCE) but not through
 * ptrace. Words are written whole and aligned.
 */
int naht_poke(pid_t thread, uint64_t address, const void *data, size_t size)
{
    const uint8_t *next = data;
    while (size) {
        uint64_t aligned = address & ~7ull, skip = address - aligned;
        size_t part = size < 8 - skip ? size : 8 - skip;
        errno = 0;
        long word = naht_ptrace(PTRACE_PEEKDATA, thread, (void *)aligned, NULL);
        if (errno)
            return errno;
        memcpy((uint8_t *)&word + skip, next, part);
        if (naht_ptrace(PTRACE_POKEDATA, thread, (void *)aligned, (void *)word))
            return errno;
        next += part;
        address += part;
        size -= part;
    }
    return 0;
}

/* process_vm_readv keeps to the page protection, which a record (-w-p) forbids to read. */
static size_t read_forced(pid_t pid, uint64_t address, void *buffer, size_t size)
{
    int memory = naht_open_memory(pid);
    if (memory < 0)
        return 0;
    ssize_t got = pread(memory, buffer, size, (off_t)address);
    close(memory);
    return got > 0 ? (size_t)got : 0;
}

size_t naht_read(pid_t pid, uint64_t address, void *buffer, size_t size)
{
    struct iovec local = {buffer, size}, remote = {(void *)address, size};
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    size_t have = got > 0 ? (size_t)got : 0;
    if (have < size)
        have += read_forced(pid, address + have, (uint8_t *)buffer + have, size - have);
    return have;
}
