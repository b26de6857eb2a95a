#include "pinboard.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *free_slots;
static unsigned long notes_read_back;

struct slot *slot_take(void)
{
    struct slot *slot;
    pthread_mutex_lock(&slots_lock);
    slot = free_slots;
    if (slot != NULL)
        free_slots = slot->next;
    pthread_mutex_unlock(&slots_lock);
    return slot != NULL ? slot : calloc(1, sizeof *slot);
}

void slot_give_back(struct slot *slot)
{
    pthread_mutex_lock(&slots_lock);
    slot->next = free_slots;
    free_slots = slot;
    notes_read_back++;
    pthread_mutex_unlock(&slots_lock);
}

/* "/note?length=N&text=T": reads T, N bytes long, back. Returns the HTTP status. */
int note_read_back(const char *path, struct slot *slot, const char **answer, size_t *length)
{
    static const char length_key[] = "/note?length=";
    static const char text_key[] = "&text=";
    const char *text;
    char *after;
    unsigned long claimed;

    if (strncmp(path, length_key, sizeof length_key - 1) != 0)
        return 400;
    claimed = strtoul(path + sizeof length_key - 1, &after, 10);
    if (claimed > NOTE_LIMIT || strncmp(after, text_key, sizeof text_key - 1) != 0)
        return 400;
    text = after + sizeof text_key - 1;
    if (strlen(text) > NOTE_LIMIT)
        return 400;
    memcpy(slot->note, text, strlen(text));
    *answer = slot->note;
    *length = claimed;
    return 200;
}
