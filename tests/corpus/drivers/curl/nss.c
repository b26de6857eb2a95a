/* The same transfers through the library that is built with NSS.
 *
 * object: libcurl-nss.so.4*
 * link: -l:libcurl-nss.so.4 -lssl -lcrypto
 */
#include "driver.h"

#include "curl.c"
