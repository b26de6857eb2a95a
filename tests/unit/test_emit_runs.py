"""Emitted code runs: in a real process, next to the library that it was built for."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from naht.build.native.emit import Description, emit
from naht.elf.file import ElfFile
from naht.hotpatch.container import pack_hotpatch
from naht.hotpatch.manifest import Manifest
from tests.builders.native_pair import Recipe, build, changes

pytestmark = pytest.mark.compiler
ROOT = Path(__file__).parents[2]


def make(
    folder: Path, recipe: Recipe, changed: tuple[str, ...], new: tuple[str, ...] = ()
) -> tuple[Manifest, Path, Path]:
    pair = build(folder, recipe)
    manifest, images = emit(pair, changes(pair, changed, new), Description())
    path = folder / "fix.naht"
    path.write_bytes(pack_hotpatch(manifest, images))
    return manifest, pair.old_link.path, path


def run_patched(library: Path, hotpatch: Path, function: str, *arguments: int) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "tests.builders.run_patched", str(library), str(hotpatch), function,
         *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{result.returncode} {result.stderr}"
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


STATE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static long hits = 5;
long total;
static const char *const names[] = {"zero", "one", "two", "three"};
static __attribute__((noinline)) long helper(long x)
{ static long calls; return x + ++calls + hits; }
long exported(long x) { return x * 2; }
long answer(long n)
{
    total += n;
    hits++;
    if (n > LIMIT)
        return BIG;
    return helper(n) + exported(n) + total + names[n & 3][0];
}
"""
BIG_SWITCH = r"""({ char b[32]; switch (n) {
    case 51: strcpy(b, "a"); break; case 52: strcpy(b, "bcd"); break;
    case 53: snprintf(b, sizeof b, "%s-%ld", "xyz", n); break;
    case 54: strcpy(b, "longer words"); break;
    case 55: sprintf(b, "%ld", exported(4)); break; default: strcpy(b, names[3]); }
    (long)strlen(b) * 1000 + b[0] + atol("7") + hits; })"""


def sources(text: str, **values: tuple[str, str]) -> tuple[str, str]:
    old, new = text, text
    for name, (before, after) in values.items():
        old, new = old.replace(name, before), new.replace(name, after)
    return old, new


LINKS = {
    "lazy": ("-Wl,-z,lazy",),
    "now": ("-Wl,-z,now",),
    "ibt": ("-Wl,-z,ibtplt", "-Wl,-z,lazy"),
    "symbolic": ("-Wl,-Bsymbolic",),
}
COMPILERS = {
    "gcc-O2": ("gcc", ("-O2",)),
    "gcc-O0": ("gcc", ("-O0",)),
    "gcc-Os-cf": ("gcc", ("-Os", "-fcf-protection=full")),
    "gcc-O3-no-plt": ("gcc", ("-O3", "-fno-plt")),
    "clang-O2": ("clang", ("-O2",)),
    "clang-O0": ("clang", ("-O0",)),
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("link", LINKS)
def test_new_code_shares_the_state_of_the_old(tmp_path: Path, compiler: str, link: str) -> None:
    tool, flags = COMPILERS[compiler]
    old, new = sources(STATE, LIMIT=("100", "50"), BIG=("-1", BIG_SWITCH))
    recipe = Recipe({"a.c": old}, {"a.c": new}, compiler=tool, flags=(*flags, "-fPIC"),
                    link=("-shared", "-Wl,-soname,libcase.so.1", *LINKS[link]))  # fmt: skip
    manifest, library, hotpatch = make(tmp_path, recipe, ("answer",))
    assert manifest.images[0].functions[0].displaced
    result = run_patched(library, hotpatch, "answer", 1, 2, 53, 54, 60)
    # total, hits and calls go on counting through the patch: nothing starts afresh
    assert result["before"][:2] == [1 + 1 + 6 + 2 + 1 + ord("o"), 2 + 2 + 7 + 4 + 3 + ord("t")]
    total, hits, calls = 1 + 2 + 53 + 54 + 60, 10, 5
    expected = []
    for n, first in ((1, "o"), (2, "t")):
        total, hits, calls = total + n, hits + 1, calls + 1
        expected.append(n + calls + hits + 2 * n + total + ord(first))
    for length, letter in ((6, "x"), (12, "l"), (5, "t")):
        hits += 1
        expected.append(length * 1000 + ord(letter) + 7 + hits)
    assert result["after"] == expected
    # entered through its displaced instructions, the old code still says what it said
    total += 53 + 54 + 60
    old_way = []
    for n in (1, 2, 53, 54, 60):
        total, hits, calls = total + n, hits + 1, calls + 1
        old_way.append(
            n + calls + hits + 2 * n + total + ord("zott"[0] if n & 3 == 0 else "?ott"[n & 3])
        )
    assert result["displaced"] == [old_way]


THREAD_LOCAL = r"""
static __thread long mine = 7;
__thread long ours = 9;
extern __thread long theirs;
long answer(long n) { mine += n; ours += mine; return VALUE; }
"""
TLS_MODELS = {
    "global-dynamic": ((), "mine + ours", "mine * 1000 + ours", 7 + 3, 9 + 10),
    "local-dynamic": (("-ftls-model=local-dynamic",), "mine + ours", "mine * 1000 + ours", 10, 19),
    "initial-exec": (("-ftls-model=initial-exec",), "mine + ours", "mine * 1000 + ours", 10, 19),
    "descriptors": (("-mtls-dialect=gnu2",), "mine + ours", "mine * 1000 + ours", 10, 19),
}


@pytest.mark.parametrize("model", TLS_MODELS)
def test_thread_local_variables_are_the_old_ones(tmp_path: Path, model: str) -> None:
    flags, before, after, mine, ours = TLS_MODELS[model]
    old, new = sources(THREAD_LOCAL, VALUE=(before, after))
    recipe = Recipe({"a.c": old}, {"a.c": new}, flags=("-O2", "-fPIC", *flags))
    _, library, hotpatch = make(tmp_path, recipe, ("answer",))
    result = run_patched(library, hotpatch, "answer", 3)
    assert result["before"] == [mine + ours]
    mine += 3
    ours += mine
    assert result["after"] == [mine * 1000 + ours]


EXCEPTIONS = r"""
#include <stdexcept>
#include <string>
struct Guard { long *n; ~Guard() { *n += 100; } };
static long unwound;
__attribute__((noinline)) long deep(long n) {
    Guard guard{&unwound};
    if (n > 10) throw std::out_of_range(std::string("too far: ") + std::to_string(n));
    if (n < 0) throw n;
    return n;
}
__attribute__((noinline)) long middle(long n) { Guard guard{&unwound}; return deep(n) + 1; }
extern "C" long answer(long n) {
    try { return middle(n) BONUS; }
    catch (const std::out_of_range &e) { return -1 - unwound - (long)std::string(e.what()).size(); }
    catch (long value) { return value * 2; }
    MORE
}
"""


@pytest.mark.parametrize(
    ("compiler", "flags"), [("g++", "-O2"), ("g++", "-O0"), ("clang++", "-O2")]
)
def test_exceptions_pass_through_new_frames(tmp_path: Path, compiler: str, flags: str) -> None:
    old = EXCEPTIONS.replace("BONUS", "").replace("MORE", "")
    new = (
        EXCEPTIONS.replace("BONUS", '+ (n == 5 ? throw "five" : 1000)')
        .replace("MORE", "catch (const char *text) { return text[0]; }")
        .replace('"too far: "', '"much too far: "')
        .replace("return deep(n) + 1", "return deep(n) + 2")
    )
    recipe = Recipe({"a.cc": old}, {"a.cc": new}, compiler=compiler, flags=(flags, "-fPIC"))
    _, library, hotpatch = make(tmp_path, recipe, ("answer", "_Z6middlel", "_Z4deepl"))
    result = run_patched(library, hotpatch, "answer", 3, 11, -4, 5)
    assert result["before"] == [4, -1 - 400 - 11, -8, 6]
    unwound = 800
    assert result["after"] == [1005, -1 - (unwound + 400) - 16, -8, ord("f")]


TABLES = r"""
static const long weights[] = {WEIGHTS};
static const char *const labels[] = {"low", LABEL, "high"};
const long exported_table[] = {5, 6, 7};
typedef long (*op)(long);
static long twice(long n) { return n * 2; }
static long square(long n) { return n * n; }
static op ops[] = {twice, square};
static const op fixed_ops[] = {square, twice, MOREOPS};
long is_square(op f) { return f == square; }
long answer(long n)
{
    static const void *const ways[] = {&&first, &&second, &&third};
    goto *ways[n % 3];
first:
    return weights[n & 3] + ops[n & 1](n) FIRST;
second:
    return labels[n & 1][1] + fixed_ops[n & 1](n) + exported_table[n & 1];
third:
    return is_square(ops[1]) + 10 * is_square(fixed_ops[0]) + 100 * is_square(square) THIRD;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_tables_pointers_and_labels(tmp_path: Path, compiler: str) -> None:
    cube = "static long cube(long n) { return n * n * n; }\nlong answer(long n)"
    old, new = sources(
        TABLES, WEIGHTS=("1, 2, 3, 4", "10, 20, 30, 40"), LABEL=('"middle"', '"centre"'),
        MOREOPS=("twice", "twice"), FIRST=("", "+ cube(n)"), THIRD=("", "+ 1000"),
    )  # fmt: skip
    new = new.replace("long answer(long n)", cube).replace(
        "return n * n; }\nstatic op", "return n * n + 1; }\nstatic op"
    )
    recipe = Recipe({"a.c": old}, {"a.c": new}, compiler=compiler, flags=("-O1", "-fPIC"))
    manifest, library, hotpatch = make(tmp_path, recipe, ("answer", "square"))
    result = run_patched(library, hotpatch, "answer", 0, 3, 1, 4, 2)
    assert result["before"] == [1, 4 + 9, ord("i") + 2 + 6, ord("o") + 16 + 5, 111]
    assert result["after"] == [
        10, 40 + 10 + 27, ord("e") + 2 + 6, ord("o") + 17 + 5, 1111,
    ]  # fmt: skip
    assert manifest.images[0].escapes in ("none", "data")


NEW_STATE = r"""
#include <stdlib.h>
extern long kept;
HELPERS
long kept = 3;
long answer(long n) { kept += n; return VALUE; }
"""


def test_new_functions_data_and_weak_imports(tmp_path: Path) -> None:
    helpers = r"""
#include <string.h>
static long fresh = 40; static char buffer[4096]; long brand_new[3] = {1, 2, 3};
extern long perhaps(long) __attribute__((weak));
static __attribute__((noinline)) int order(const void *a, const void *b)
{ long x = *(const long *)a, y = *(const long *)b; return (x < y) - (x > y); }
__attribute__((noinline)) long added(long n)
{ static long calls; memset(buffer, (int)n, 8); fresh += ++calls;
  qsort(brand_new, 3, sizeof(long), order);
  return fresh + buffer[7] + brand_new[0] * 1000 + (perhaps ? perhaps(n) : 500000); }
"""
    old, new = sources(
        NEW_STATE, HELPERS=("", helpers), VALUE=("kept", "kept * 10000000 + added(n)")
    )
    recipe = Recipe({"a.c": old}, {"a.c": new})
    manifest, library, hotpatch = make(tmp_path, recipe, ("answer",), ("order", "added"))
    result = run_patched(library, hotpatch, "answer", 2, 4)
    assert result["before"] == [5, 9]
    assert result["after"] == [
        110000000 + 500000 + 3000 + 41 + 2,
        150000000 + 500000 + 3000 + 43 + 4,
    ]
    assert manifest.consistency == "quiescent"
    assert manifest.images[0].escapes == "code"


IFUNC = r"""
static long slow(long n) { return n + 1; }
static long quick(long n) { return n + 2; }
static void *choose(void) { return slow ? (void *)quick : (void *)slow; }
long chosen(long n) __attribute__((ifunc("choose")));
VISIBILITY long hidden_choice(long n) __attribute__((ifunc("choose")));
long uses(long n) { return hidden_choice(n); }
long answer(long n) { return chosen(n) VALUE; }
"""


def test_ifuncs_keep_what_was_chosen(tmp_path: Path) -> None:
    hidden = ('__attribute__((visibility("hidden")))',) * 2
    old, new = sources(IFUNC, VISIBILITY=hidden, VALUE=("", "* 100 + hidden_choice(n)"))
    _, library, hotpatch = make(tmp_path, Recipe({"a.c": old}, {"a.c": new}), ("answer",))
    result = run_patched(library, hotpatch, "answer", 5)
    assert (result["before"], result["after"]) == ([7], [707])


def test_equal_names_in_different_units_stay_apart(tmp_path: Path) -> None:
    unit = (
        "static long state = {0}; static __attribute__((noinline)) long step(long n)"
        "{{ return state += n {1}; }}"
        '__attribute__((visibility("hidden"))) long side_{2}(long n) {{ return step(n); }}'
    )
    top = (
        "long side_a(long); long side_b(long);"
        "long answer(long n) { return side_a(n) * 1000 + side_b(n); }"
    )
    recipe = Recipe(
        {"a.c": unit.format(100, "", "a"), "b.c": unit.format(200, "", "b")},
        {"a.c": unit.format(100, "* 2", "a"), "b.c": unit.format(200, "* 3", "b")},
        shared={"top.c": top},
    )
    manifest, library, hotpatch = make(tmp_path, recipe, ("step",))
    names = [f.name for f in manifest.images[0].functions]
    assert len(set(names)) == 2
    result = run_patched(library, hotpatch, "answer", 1, 2)
    assert result["before"] == [101 * 1000 + 201, 103 * 1000 + 203]
    assert result["after"] == [105 * 1000 + 206, 109 * 1000 + 212]


COLD = r"""
#include <stdlib.h>
#include <stdio.h>
__attribute__((noinline, cold)) static long complain(long n) { return -n; }
long answer(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++) {
        if (__builtin_expect(i == 7, 0)) { sum += complain(i) WORSE; if (n == 9) return sum; }
        sum += i;
    }
    return sum;
}
"""


def test_split_off_parts_come_along(tmp_path: Path) -> None:
    old, new = sources(COLD, WORSE=("", "* 2 + complain(3)"))
    manifest, library, hotpatch = make(
        tmp_path, Recipe({"a.c": old}, {"a.c": new}, flags=("-O2", "-fPIC")), ("answer",)
    )
    assert len(manifest.images[0].functions[0].parts) == 2
    result = run_patched(library, hotpatch, "answer", 5, 8, 9)
    assert (result["before"], result["after"]) == ([10, 21, 14], [10, 11, 4])


def test_common_symbols_and_versions(tmp_path: Path) -> None:
    text = "long shared_common; long answer(long n) { shared_common += n; return VALUE; }"
    old, new = sources(
        text,
        VALUE=(
            "shared_common",
            "shared_common * 100 + ++another; } long another; long end(void) { return 0",
        ),
    )
    recipe = Recipe(
        {"a.c": old}, {"a.c": "long another;" + new}, flags=("-O2", "-fPIC", "-fcommon")
    )
    _, library, hotpatch = make(tmp_path, recipe, ("answer",))
    result = run_patched(library, hotpatch, "answer", 2, 3)
    assert (result["before"], result["after"]) == ([2, 5], [701, 1002])


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    old, new = sources(STATE, LIMIT=("100", "50"), BIG=("-1", BIG_SWITCH))
    recipe = Recipe({"a.c": old}, {"a.c": new})
    files = []
    for name in ("here", "there"):
        _, _, hotpatch = make(tmp_path / name, recipe, ("answer",))
        files.append(hotpatch.read_bytes())
    assert files[0] == files[1]


FAR = r"""
#include <stdio.h>
#include <time.h>
extern int optind, opterr, optopt;
extern char *optarg;
long *far_place(void);
long answer(long n) { VALUE }
"""
FAR_VALUE = r"""
    optind += (int)n;             /* read, change and write in memory */
    timezone = n * 3;             /* a store */
    opterr ^= 1;
    int *place = &optopt;         /* an address */
    *place = 7;
    double half = 0.5 * (double)timezone;
    if (stdout == NULL) return -1;
    if (optarg != NULL) return -2;
    if (opterr > 1000) return -3;
    return optind * 1000000 + opterr * 1000 + (long)half + optopt + (char)timezone;
"""


DIRECT = {"gcc": (), "clang": ("-fdirect-access-external-data",)}


@pytest.mark.parametrize("compiler", ["gcc-O2", "gcc-O0", "clang-O2", "clang-O0"])
def test_data_of_other_objects_that_code_names_directly(tmp_path: Path, compiler: str) -> None:
    tool, flags = COMPILERS[compiler]
    old, new = sources(FAR, VALUE=("return n * 5 + 1;", FAR_VALUE))
    library = Recipe({"a.c": old}, {"a.c": new}, compiler=tool, flags=(*flags, "-fPIC"))
    executable = Recipe(
        {"a.c": new}, {"a.c": new}, {"m.c": "int main(void) { return 0; }"}, tool,
        (*flags, "-fPIE", *DIRECT[tool]), ("-pie",), "prog",
    )  # fmt: skip
    pair = build(tmp_path, library)
    direct = build(tmp_path / "direct", executable).units[0].new
    pair = replace(pair, units=(replace(pair.units[0], new=direct),))
    manifest, images = emit(pair, changes(pair, ("answer",)), Description())
    assert any(s.name == ".naht.far" for s in ElfFile(images["x86_64.o"]).sections)
    hotpatch = tmp_path / "fix.naht"
    hotpatch.write_bytes(pack_hotpatch(manifest, images))
    result = run_patched(pair.old_link.path, hotpatch, "answer", 4, 20)
    assert result["after"] == [
        5 * 1000000 + 0 + 6 + 7 + 12,
        25 * 1000000 + 1000 + 30 + 7 + 60,
    ]  # fmt: skip


INLINE = r"""
struct Counter { long n = 0; };
template <class T> __attribute__((noinline)) long bump(T &c, long by) {
    static long calls = 0;
    c.n += by;
    return c.n * 100 + ++calls CHANGE;
}
inline Counter shared_counter;
extern "C" long NAME(long n) { return bump(shared_counter, n); }
"""


def test_inline_functions_of_several_units_are_one(tmp_path: Path) -> None:
    def unit(name: str, change: str) -> str:
        return INLINE.replace("NAME", name).replace("CHANGE", change)

    top = (
        "long left(long); long right(long);"
        "long answer(long n) { return left(n) * 10000 + right(n); }"
    )
    recipe = Recipe(
        {"a.cc": unit("left", ""), "b.cc": unit("right", "")},
        {"a.cc": unit("left", "+ 50"), "b.cc": unit("right", "+ 50")},
        {"top.cc": 'extern "C" {' + top + "}"},
        "g++", ("-O1", "-fPIC", "-std=c++17"),
    )  # fmt: skip
    pair = build(tmp_path, recipe)
    every = changes(pair, ("_Z4bumpI7CounterElRT_l",))
    linked = replace(every, functions=every.functions[:1])
    assert len(every.functions) == 2
    manifest, images = emit(pair, linked, Description())
    assert len(manifest.images[0].functions) == 1
    hotpatch = tmp_path / "fix.naht"
    hotpatch.write_bytes(pack_hotpatch(manifest, images))
    result = run_patched(pair.old_link.path, hotpatch, "answer", 1, 2)
    assert result["before"] == [101 * 10000 + 202, 403 * 10000 + 604]
    assert result["after"] == [755 * 10000 + 856, 1057 * 10000 + 1258]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_end_of_a_literal_belongs_to_it(tmp_path: Path, compiler: str) -> None:
    text = r"""
#include <string.h>
#define OUT __attribute__((noinline)) static
OUT long span(const char *from, const char *to) { return to - from; }
long answer(long n)
{ const char *s = "abcd"; return span(s, s + LENGTH) * 10 + span(s, s + 5) + n; }
"""
    old, new = sources(text, LENGTH=("2", "4"))
    recipe = Recipe({"a.c": old}, {"a.c": new}, compiler=compiler, flags=("-O1", "-fPIC"))
    _, library, hotpatch = make(tmp_path, recipe, ("answer",))
    result = run_patched(library, hotpatch, "answer", 100)
    assert (result["before"], result["after"]) == ([125], [145])


CALL_FIRST = r"""
struct Trouble { long n; };
__attribute__((noinline)) long inner(long n) { if (n > 5) throw Trouble{n}; return n; }
extern "C" long answer(long n) {
    try { return inner(n) BONUS; } catch (const Trouble &t) { return -t.n; }
}
"""


@pytest.mark.parametrize("flags", [("-O2",), ("-O2", "-fno-plt"), ("-Os", "-fcf-protection=full")])
def test_displaced_calls_return_into_the_old_function(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The exception passes through the frame of a call that stands in displaced code."""
    old, new = sources(CALL_FIRST, BONUS=("", "+ 1"))
    recipe = Recipe({"a.cc": old}, {"a.cc": new}, compiler="g++", flags=(*flags, "-fPIC"))
    manifest, library, hotpatch = make(tmp_path, recipe, ("answer",))
    entry = next(f for f in manifest.images[0].functions if f.name == "answer")
    assert entry.displaced
    result = run_patched(library, hotpatch, "answer", 3, 7)
    assert result == {"before": [3, -7], "after": [4, -7], "displaced": [[3, -7]]}


SCOPE = r"""
KEPT long case_state = 5;
OPENED long case_other = 7;
KEPT const long case_table[3] = {1, 2, 3};
KEPT __attribute__((noinline)) long case_step(long n) { return ++case_state + n; }
long answer(long n) { case_other += n; return VALUE; }
"""


@pytest.mark.parametrize("visibility", ["", '__attribute__((visibility("hidden")))'])
def test_variables_that_become_static_or_global_stay_the_same(
    tmp_path: Path, visibility: str
) -> None:
    value = (
        "case_step(n) + case_other + case_table[n % 3]",
        "case_step(n) * 1000 + case_other + case_table[n % 3] * 100000",
    )
    old, new = sources(SCOPE, KEPT=(visibility, "static"), OPENED=("static", ""), VALUE=value)
    _, library, hotpatch = make(
        tmp_path, Recipe({"a.c": old}, {"a.c": new}), ("answer", "case_step")
    )
    result = run_patched(library, hotpatch, "answer", 1, 2)
    assert result["before"] == [7 + 8 + 2, 9 + 10 + 3]
    assert result["after"] == [9 * 1000 + 11 + 200000, 11 * 1000 + 13 + 300000]
