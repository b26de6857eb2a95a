#ifndef DOOR_H
#define DOOR_H

/* Says whether `given` opens the door. */
int door_opens(const char *given);

#endif
