/* The Python binding: documents that are read through Python objects.
 *
 * object: libxml2mod*.so*
 * link: -I/usr/include/python3.11 -lpython3.11
 */
#include "driver.h"

#include "interpreter.h"

void exercise(void) {
    if (!reads(3, "word") || !reads(400, "word") || !reads(30, "\xc3\xa4"))
        driver_fail("a document is not read");
}
