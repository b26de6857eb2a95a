/* Encodes images in several orders, with markers and tiles, and decodes them, whole and damaged.
 *
 * object: libopenjp2.so.*
 * link: -lopenjp2
 */
#include "driver.h"

#include "codestream.h"

void exercise(void) {
    static const OPJ_PROG_ORDER orders[] = {OPJ_LRCP, OPJ_RLCP, OPJ_RPCL, OPJ_PCRL, OPJ_CPRL};
    static _Thread_local struct memory own;
    static _Thread_local unsigned round;
    OPJ_CODEC_FORMAT format = round % 2 ? OPJ_CODEC_J2K : OPJ_CODEC_JP2;
    int encoded = encode(&own, round % 3 ? SOP | EPH : 0, format, orders[round % 5]);
    int decoded = decode(&own, format);
    if (!encoded || decoded < 1) driver_fail("round %u: %d %d", round, encoded, decoded);
    memset(own.data + own.size / 2, 0, 200);
    decode(&own, format);
    round++;
}
