/* The same transfers through the library that is built with GnuTLS.
 *
 * object: libcurl-gnutls.so.4*
 * link: -l:libcurl-gnutls.so.4 -lssl -lcrypto
 */
#include "driver.h"

#include "curl.c"
