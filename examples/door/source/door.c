#include "door.h"

#include <string.h>

static const char *word(void)
{
    return "sesame";
}

/* The hole: the length is that of the guess, so that every beginning of the word opens, too. */
int door_opens(const char *given)
{
    return strncmp(given, word(), strlen(given)) == 0;
}
