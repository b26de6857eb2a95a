/* A global name where the environment is a constant.
 *
 * object: liblua5.4.so.0*
 * link: -I/usr/include/lua5.4 -llua5.4
 * proves: 0004-cve-2022-28805.patch
 */
#include "driver.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static const char *answer(const char *script) {
    static char line[120];
    lua_State *state = luaL_newstate();
    luaL_openlibs(state);
    int status = luaL_dostring(state, script);
    snprintf(line, sizeof line, "%d %.100s", status, lua_tostring(state, -1));
    lua_close(state);
    return line;
}

void exercise(void) {
    lua_State *state = luaL_newstate();
    if (luaL_dostring(state, "local _ENV <const> = {}; X = 1; return X") ||
        lua_tointeger(state, -1) != 1)
        driver_fail("a good environment");
    lua_close(state);
}

const char *prove(void) {
    return answer(
        "local a, b, c, d, e, f, g, h, i, j, k, l = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, {}\n"
        "local _ENV <const> = 11; X = 'hi'; return l and 'assigned'");
}
