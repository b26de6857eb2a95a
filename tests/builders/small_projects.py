"""Small real projects, each for one build system: a library `libgreet` with a static function in a
header, a convenience archive, and a program that uses it. `write_project` makes the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_HEADER = """
#ifndef LIMIT_H
#define LIMIT_H
static inline int limit(void) { return 10; }
int greet(int n);
int helper(int n);
int unrelated(int n);
#endif
"""

GREET = """
#include "limit.h"
static int calls;
int greet(int n) { calls++; return n > limit() ? helper(n) : calls; }
"""

HELPER = """
#include "limit.h"
#include <stdio.h>
int helper(int n) { printf("%d of %d\\n", n, limit()); return n; }
"""

UNRELATED = """
int unrelated(int n) { static int table[4] = {1, 2, 3, 4}; return table[n & 3]; }
"""

MAIN = """
#include "limit.h"
int main(int argc, char **argv) { (void)argv; return greet(argc) + unrelated(argc); }
"""

SOURCES = {
    "include/limit.h": LIMIT_HEADER,
    "src/greet.c": GREET,
    "src/helper.c": HELPER,
    "src/unrelated.c": UNRELATED,
    "src/main.c": MAIN,
}


@dataclass(frozen=True)
class Project:
    files: Mapping[str, str]
    command: str
    object: str
    changed: tuple[str, ...] = ("src/greet.c", "src/helper.c")  # by a change of the header


# No header is a prerequisite here: what a makefile forgets must be rebuilt all the same.
PLAIN_MAKE = Project(
    {**SOURCES, "Makefile": """
CFLAGS = -O2 -g -fPIC -Iinclude
OBJECTS = src/greet.o src/unrelated.o
all: libgreet.so prog
libgreet.so: $(OBJECTS) libhelp.a
\t$(CC) -shared $(LDFLAGS) -o $@ $(OBJECTS) -Wl,--whole-archive libhelp.a -Wl,--no-whole-archive
libhelp.a: src/helper.o
\tar rcs $@ src/helper.o
prog: src/main.o libgreet.so
\t$(CC) -o $@ src/main.o -L. -lgreet -Wl,-rpath,.
"""},
    "make -j2", "libgreet.so",
)  # fmt: skip

ONE_COMMAND = Project(
    {**SOURCES, "build.sh": """
set -e
${CC:-gcc} -O2 -Iinclude src/main.c src/greet.c src/helper.c src/unrelated.c -o prog -s
"""},
    "sh build.sh", "prog",
)  # fmt: skip

CMAKE = Project(
    {**SOURCES, "CMakeLists.txt": """
cmake_minimum_required(VERSION 3.18)
project(greet C)
include_directories(include)
add_library(aid STATIC src/helper.c)
set_target_properties(aid PROPERTIES POSITION_INDEPENDENT_CODE ON)
add_library(greet SHARED src/greet.c src/unrelated.c)
set_target_properties(greet PROPERTIES VERSION 1.2.3 SOVERSION 1)
target_link_libraries(greet PRIVATE aid)
add_executable(prog src/main.c)
target_link_libraries(prog greet)
"""},
    "cmake -S . -B out -DCMAKE_BUILD_TYPE=RelWithDebInfo && cmake --build out -j2",
    "out/libgreet.so.1",
)  # fmt: skip

CMAKE_NINJA = Project(CMAKE.files, CMAKE.command.replace(" -S", " -G Ninja -S"), CMAKE.object)

MESON = Project(
    {**SOURCES, "meson.build": """
project('greet', 'c', default_options: ['buildtype=debugoptimized', 'b_staticpic=true'])
inc = include_directories('include')
help = static_library('help', 'src/helper.c', include_directories: inc)
greet = shared_library('greet', 'src/greet.c', 'src/unrelated.c', include_directories: inc,
                       link_with: help, version: '1.2.3')
executable('prog', 'src/main.c', include_directories: inc, link_with: greet)
"""},
    "test -d out || meson setup out; ninja -j2 -C out", "out/libgreet.so.1",
)  # fmt: skip

# libtool renames and installs: the object is taken stripped, where `make install` put it.
AUTOTOOLS = Project(
    {**SOURCES, "configure.ac": """
AC_INIT([greet], [1])
AC_CONFIG_AUX_DIR([aux])
AM_INIT_AUTOMAKE([foreign subdir-objects])
AM_PROG_AR
LT_INIT
AC_PROG_CC
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
""", "Makefile.am": """
AM_CPPFLAGS = -I$(srcdir)/include
lib_LTLIBRARIES = libgreet.la
noinst_LTLIBRARIES = libhelp.la
libhelp_la_SOURCES = src/helper.c
libgreet_la_SOURCES = src/greet.c src/unrelated.c
libgreet_la_LIBADD = libhelp.la
bin_PROGRAMS = prog
prog_SOURCES = src/main.c
prog_LDADD = libgreet.la
"""},
    "test -f Makefile || { mkdir -p aux && autoreconf -fi && ./configure --prefix=/usr; }; "
    "make -j2 && make install-strip DESTDIR=$PWD/stage",
    "stage/usr/lib/libgreet.so.0.0.0",
)  # fmt: skip

CLANG = Project(
    {**PLAIN_MAKE.files}, "make -j2 CC=clang", "libgreet.so"
)  # fmt: skip

CPLUSPLUS = Project(
    {
        "shape.hpp": """
#include <string>
#include <vector>
struct Shape { virtual ~Shape() = default; virtual int area() const = 0; };
template <class T> inline T twice(T x) { return x + x; }
int total(const std::vector<Shape *> &shapes);
""",
        "shape.cpp": """
#include "shape.hpp"
#include <stdexcept>
namespace { int count; }
int total(const std::vector<Shape *> &shapes) {
  int sum = 0;
  for (auto *s : shapes) { if (!s) throw std::runtime_error("none"); sum += twice(s->area()); }
  return sum + ++count;
}
""",
        "main.cc": """
#include "shape.hpp"
struct Square : Shape { int side = 2; int area() const override { return side * side; } };
int main() { Square s; std::vector<Shape *> v{&s}; return total(v) > 0 ? 0 : 1; }
""",
        "other.cpp": "#include <string>\nstd::string other() { return std::string(3, 'x'); }\n",
        "Makefile": """
CXXFLAGS = -O2 -MMD -MP
OBJECTS = main.o shape.o other.o
prog: $(OBJECTS)
\t$(CXX) -o $@ $(OBJECTS)
%.o: %.cc
\t$(CXX) $(CXXFLAGS) -c -o $@ $<
-include $(OBJECTS:.o=.d)
""",
    },
    "make -j2", "prog", ("shape.cpp",),
)  # fmt: skip

BUILD_SYSTEMS = {
    "make": PLAIN_MAKE,
    "one-command": ONE_COMMAND,
    "cmake": CMAKE,
    "cmake-ninja": CMAKE_NINJA,
    "meson": MESON,
    "autotools": AUTOTOOLS,
    "clang": CLANG,
}


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text() != content:
            path.write_text(content)
    return folder


def edited(files: Mapping[str, str], name: str, old: str, new: str) -> dict[str, str]:
    """The files with one text replaced, which must be there."""
    assert old in files[name]
    return {**files, name: files[name].replace(old, new)}
