/* The same through the library with wide characters.
 *
 * object: libexpatw.so.1*
 * link: -DXML_UNICODE -lexpatw
 */
#include "driver.h"

#include "parse.c"
