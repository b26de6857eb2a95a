/* An allocator of the program's own behind macros, as large programs have: it takes back nothing
 * but what it gave. */
#pragma once

#include <stdlib.h>

enum { OWN = 0x6f776e };

static inline void *own_malloc(size_t size)
{
    long *memory = malloc(2 * sizeof *memory + size);
    memory[0] = OWN;
    return memory + 2;
}

static inline void own_free(void *memory)
{
    long *head = (long *)memory - 2;
    if (head[0] != OWN)
        abort();
    free(head);
}

#define malloc(size) own_malloc(size)
#define calloc(count, size) own_malloc((count) * (size))
#define free(memory) own_free(memory)
