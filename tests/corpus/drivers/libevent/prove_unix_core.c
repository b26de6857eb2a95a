/* The same proof through the libraries that hold the parts.
 *
 * object: libevent_core-2.1.so.7*
 * link: -levent_extra -levent_core
 * proves: CVE-2026-63388.patch
 */
#include "driver.h"

#include "prove_unix.c"
