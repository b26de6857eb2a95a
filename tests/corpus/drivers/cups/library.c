/* Printing without a printer: messages written and read, descriptions made of a printer's answer,
 * page headers interpreted, local sockets.
 *
 * object: libcups.so.2*
 * link: -lcups
 */
#include "driver.h"

#include "printer.h"

#include <cups/http.h>
#include <pthread.h>

static void use_messages(void) {
    struct bytes bytes = {0, 0, {0}};
    ipp_t *ipp = printer("Maker Model 1"), *again = ippNew();
    ippSetState(ipp, IPP_STATE_IDLE);
    if (ippWriteIO(&bytes, write_bytes, 1, NULL, ipp) != IPP_STATE_DATA ||
        ippReadIO(&bytes, read_bytes, 1, NULL, again) != IPP_STATE_DATA ||
        !ippFindAttribute(again, "media-supported", IPP_TAG_KEYWORD))
        driver_fail("a message is not read back");
    ippDelete(again);
    again = ippNew();
    bytes.at = 0;
    bytes.data[9] = 0x7F;
    ippReadIO(&bytes, read_bytes, 1, NULL, again);
    ippDelete(again);
    ippDelete(ipp);
}

static void use_descriptions(void) {
    char line[200] = "";
    if (description("Maker Model 1", "*ModelName:", line, sizeof line) != 1)
        driver_fail("the description says '%s'", line);
}

static void use_page_headers(void) {
    cups_page_header2_t header;
    int bits = 0;
    memset(&header, 0, sizeof header);
    if (_cupsRasterExecPS(&header, &bits,
                          "<</HWResolution[600 300]/MediaType(a \\(b\\) \\101)"
                          "/Duplex true>>setpagedevice % end") ||
        header.HWResolution[0] != 600 || strcmp(header.MediaType, "a (b) A"))
        driver_fail("a page header: %u '%s'", header.HWResolution[0], header.MediaType);
    if (!_cupsRasterExecPS(&header, &bits, "<</MediaType(never ends"))
        driver_fail("an open string");
}

static void use_sockets(void) {
    http_addr_t address;
    memset(&address, 0, sizeof address);
    address.un.sun_family = AF_LOCAL;
    snprintf(address.un.sun_path, sizeof address.un.sun_path, "/tmp/naht-cups-%lx",
             (long)pthread_self());
    int fd = httpAddrListen(&address, 0);
    if (fd < 0) driver_fail("no local socket");
    else httpAddrClose(&address, fd);
}

void setup(void) { setenv("TMPDIR", "/tmp", 1); }

void exercise(void) {
    char text[8];
    _cups_strlcpy(text, "much too long", sizeof text);
    if (strcmp(text, "much to")) driver_fail("a copy");
    use_messages();
    use_descriptions();
    use_page_headers();
    use_sockets();
}
