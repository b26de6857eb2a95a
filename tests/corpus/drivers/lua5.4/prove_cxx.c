/* The same proof with the library that is compiled as C++.
 *
 * object: liblua5.4-c++.so.0*
 * link: -I/usr/include/lua5.4 -llua5.4-c++
 * proves: 0004-cve-2022-28805.patch
 */
#include "driver.h"

#include "prove.c"
