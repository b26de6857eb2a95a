/* The same sessions (but for the slow exchanges) through the library that is built with libgcrypt.
 *
 * object: libssh-gcrypt.so.4*
 * link: -l:libssh-gcrypt.so.4
 */
#include "driver.h"

#define CHOICES 2
#include "sessions.c"
