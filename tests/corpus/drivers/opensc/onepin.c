/* The variant of the PKCS #11 module that shows one PIN.
 *
 * object: onepin-opensc-pkcs11.so
 * link: -rdynamic -I/usr/include/PCSC -l:onepin-opensc-pkcs11.so -l:libopensc.so.8
 */
#include "driver.h"

#include "pkcs11.c"
