/* A document of letters that take two bytes each, longer than what is asked for at a time.
 *
 * object: libxml2mod*.so*
 * link: -I/usr/include/python3.11 -lpython3.11
 * proves: CVE-2025-32414-bug-889-v2.10.4-and-below.patch
 */
#include "driver.h"

#include "interpreter.h"

void exercise(void) {
    if (!reads(3, "word")) driver_fail("a document is not read");
}

const char *prove(void) { return reads(900, "\xc3\xa4\xc3\xb6\xc3\xbc") ? "read" : "cut off"; }
