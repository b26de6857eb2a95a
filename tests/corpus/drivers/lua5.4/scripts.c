/* Compiles and runs scripts: closures, string building, errors, coroutines, collections.
 *
 * object: liblua5.4.so.0*
 * link: -I/usr/include/lua5.4 -llua5.4
 */
#include "driver.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static const char script[] =
    "local total <const> = 3\n"
    "local parts = {}\n"
    "for i = 1, 50 do parts[#parts + 1] = i .. ',' .. (i * 2.5) .. tostring(nil) .. 'x' end\n"
    "local text = table.concat(parts):gsub('%d+', function(d) return '<' .. d .. '>' end)\n"
    "local function deep(n) if n == 0 then error({code = 7}) end return deep(n - 1) + 1 end\n"
    "local ok, e = pcall(deep, 50); assert(not ok and e.code == 7)\n"
    "ok, e = pcall(function() local s = nil; return s .. 'a' end)\n"
    "assert(not ok and e:find('concatenate'))\n"
    "ok, e = pcall(string.rep, 'x', -1); assert(ok and e == '')\n"
    "ok, e = pcall(error, setmetatable({}, {__tostring = function() return 'E' end}))\n"
    "assert(tostring(e) == 'E')\n"
    "local co = coroutine.wrap(function(...) for i = 1, 3 do coroutine.yield(i) end end)\n"
    "co(); assert(co() + co() == 5)\n"
    "local f = load('local _ENV = {x = 5}; return function() x = x + 1; return x end')()\n"
    "assert(f() == 6 and f() == 7)\n"
    "local t = setmetatable({}, {__gc = function() end, __close = function() end})\n"
    "do local c <close> = t end\n"
    "assert(load('x = = 1') == nil and load('goto nowhere') == nil)\n"
    "return #text + total";

void exercise(void) {
    lua_State *state = luaL_newstate();
    luaL_openlibs(state);
    if (luaL_dostring(state, script) != LUA_OK || lua_tointeger(state, -1) < 100)
        driver_fail("the script: %s", lua_tostring(state, -1));
    lua_close(state);
}
