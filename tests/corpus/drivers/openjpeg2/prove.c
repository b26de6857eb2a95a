/* An image that says its packets' headers end with a marker, and has none in the last one.
 *
 * object: libopenjp2.so.*
 * link: -lopenjp2
 * proves: CVE-2023-39327.patch
 */
#include "driver.h"

#include "codestream.h"

static struct memory whole, without;

void setup(void) {
    if (!encode(&whole, EPH, OPJ_CODEC_J2K, OPJ_LRCP)) driver_fail("no image");
    without = whole;
    for (size_t i = without.size - 2; i > 100; i--)
        if (without.data[i] == 0xFF && without.data[i + 1] == 0x92) {
            without.data[i] = without.data[i + 1] = 0;
            return;
        }
    driver_fail("no marker");
}

void exercise(void) {
    static _Thread_local struct memory own;
    own = whole;
    if (!decode(&own, OPJ_CODEC_J2K)) driver_fail("the whole image");
}

const char *prove(void) {
    static struct memory own;
    own = without;
    return decode(&own, OPJ_CODEC_J2K) ? "decoded" : "refused";
}
