/* The same proof through the library that holds this part.
 *
 * object: libevent_extra-2.1.so.7*
 * link: -levent_extra -levent_core
 * proves: CVE-2026-63385.patch
 */
#include "driver.h"

#include "prove.c"
