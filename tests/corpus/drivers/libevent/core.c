/* The same through the libraries that hold the parts.
 *
 * object: libevent_core-2.1.so.7* libevent_extra-2.1.so.7*
 * link: -levent_extra -levent_core -levent_pthreads
 */
#include "driver.h"

#include "events.c"
