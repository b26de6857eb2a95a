/* The same proofs with the library that is built with GnuTLS (which checks names itself).
 *
 * object: libcurl-gnutls.so.4*
 * link: -l:libcurl-gnutls.so.4 -lssl -lcrypto
 * proves: CVE-2023-27533.patch CVE-2023-38545.patch CVE-2023-46218.patch CVE-2023-46219.patch
 * proves: CVE-2024-2004.patch CVE-2024-11053.patch CVE-2025-0167.patch
 */
#include "driver.h"

#include "prove.c"
