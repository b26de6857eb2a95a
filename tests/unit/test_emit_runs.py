"""Emitted code runs: in a real process, next to the library that it was built for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from naht.build.native.emit import Description, emit
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
