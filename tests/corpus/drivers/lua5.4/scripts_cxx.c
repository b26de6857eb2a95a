/* The same scripts with the library that is compiled as C++.
 *
 * object: liblua5.4-c++.so.0*
 * link: -I/usr/include/lua5.4 -llua5.4-c++
 */
#include "driver.h"

#include "scripts.c"
