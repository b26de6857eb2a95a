"""Which functions the judge includes, drops or leaves alone, on pairs that the compiler made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import naht.hotpatch
from naht.build.native.judge import JudgeOptions, judge
from naht.build.native.relocatable import Named, Relocatable
from naht.errors import BuildRefusedError, UsageError
from tests.builders.judged_pair import built, included, judged, one_file, refused
from tests.builders.native_pair import Recipe

pytestmark = pytest.mark.compiler

COMPILERS = [("gcc", "-O0"), ("gcc", "-O2"), ("gcc", "-O3"), ("clang", "-O0"), ("clang", "-O2")]


@pytest.mark.parametrize(("compiler", "level"), COMPILERS)
def test_only_the_edited_function_of_many_is_changed(
    tmp_path: Path, compiler: str, level: str
) -> None:
    recipe = one_file(MANY, MANY.replace("LIMIT", "77"), compiler=compiler,
                      flags=(level, "-fPIC", "-DLIMIT=66"))  # fmt: skip
    changes = judged(tmp_path, recipe)
    assert included(changes) == {"checked": "changed"}
    assert changes.dropped == ()


MANY = r"""
#include <stdio.h>
#include <string.h>
static const int table[] = {3, 1, 4, 1, 5, 9};
static int total;
double scaled(double x) { return x * 2.5 + 1e10; }
const char *named(int n)
{
    switch (n) {
    case 0: return "zero";
    case 1: puts("one"); return "uno";
    case 2: total++; return "two";
    case 3: return strerror(n);
    case 4: puts("four"); return "vier";
    case 5: total--; return "five";
    }
    return "many";
}
int checked(int n) { if (n > LIMIT) return -1; printf("%d of %s\n", n, "all"); return n; }
int copied(int *out) { int a[12] = {5, 3, 2, 7, 8, 9, 1, 2, 9, 7, 7, 7};
                       memcpy(out, a, sizeof a); return table[total & 3]; }
int logged(int n) { static int calls; printf("%s\n", __func__); return n + ++calls; }
"""


def test_literals_that_move_change_nothing_else(tmp_path: Path) -> None:
    """An added string shifts every later one in its section."""
    new = MANY.replace('"%d of %s\\n"', '"%d out of a lot of %s\\n"')
    for level in ("-O0", "-O2"):
        recipe = one_file(MANY, new, flags=(level, "-fPIC", "-DLIMIT=66"))
        assert included(judged(tmp_path / level, recipe)) == {"checked": "changed"}


def test_a_changed_constant_of_floating_point_is_found(tmp_path: Path) -> None:
    recipe = one_file(MANY, MANY.replace("1e10", "1e11"), flags=("-O2", "-fPIC", "-DLIMIT=6"))
    assert included(judged(tmp_path, recipe)) == {"scaled": "changed"}


def test_a_changed_initialiser_of_an_automatic_array_is_found(tmp_path: Path) -> None:
    new = MANY.replace("7, 7, 7}", "7, 7, 8}")
    for compiler, level in COMPILERS:
        recipe = one_file(MANY, new, compiler=compiler, flags=(level, "-fPIC", "-DLIMIT=6"))
        assert included(judged(tmp_path / (compiler + level), recipe)) == {"copied": "changed"}


def test_a_caller_into_which_the_change_was_inlined_says_so(tmp_path: Path) -> None:
    source = """
        static inline int limited(int n) { return n > 10 ? 10 : n * 3; }
        int first(int n) { return limited(n) + 1; }
        int other(int n) { return n; }
        int second(int n) { return limited(n + 2); }
    """
    changes = judged(tmp_path, one_file(source, source.replace("10 ? 10", "9 ? 9")))
    assert included(changes) == {"first": "changed", "second": "changed"}


def test_a_function_that_is_newly_inlined_is_named_as_the_reason(tmp_path: Path) -> None:
    source = """
        __attribute__((noinline)) static int limited(int n) { return n > 10 ? 10 : n * 3; }
        int first(int n) { return limited(n) + 1; }
        int second(int n) { return limited(n + 2); }
    """
    changes = judged(tmp_path, one_file(source, source.replace("noinline", "always_inline")))
    assert {f.name: f.reason for f in changes.functions} == {
        "first": "inlines limited",
        "second": "inlines limited",
    }


# ---- line numbers and paths ----

ASSERTS = """
    #include <assert.h>
    int first(int n) { assert(n > 1); return n; }
    int second(int n) { return n * 7 + 100; }
    int third(int n) { assert(n > 3); return __LINE__; }
"""


def test_functions_that_only_moved_are_dropped_and_named(tmp_path: Path) -> None:
    new = ASSERTS.replace("int first", "\n\n  int first").replace("n * 7", "n * 9")
    changes = judged(tmp_path, one_file(ASSERTS, new))
    assert included(changes) == {"second": "changed"}
    assert changes.dropped == ("first", "third")


def test_a_moved_function_that_also_changed_is_kept(tmp_path: Path) -> None:
    new = ASSERTS.replace("int first", "\n\n  int first").replace("n > 3", "n > 4")
    changes = judged(tmp_path, one_file(ASSERTS, new))
    assert included(changes) == {"third": "changed"}
    assert changes.dropped == ("first",)


def test_line_numbers_alone_are_no_hotpatch(tmp_path: Path) -> None:
    error = refused(tmp_path, one_file(ASSERTS, "\n\n" + ASSERTS))
    assert error.reason == "nothing-changed"
    assert "2 functions" in error.cause


def test_the_same_source_is_no_hotpatch(tmp_path: Path) -> None:
    assert refused(tmp_path, one_file(MANY, MANY, flags=("-O2", "-fPIC", "-DLIMIT=6"))).reason == (
        "nothing-changed"
    )


def test_a_constant_that_holds_a_line_number_does_not_change_its_users(tmp_path: Path) -> None:
    source = """
        static const struct { int line; const char *what; } places[] = {{__LINE__, "here"}};
        int place(int n) { return places[n].line; }
        int limit(int n) { return n * 7 + 100; }
    """
    new = "\n" + source.replace("n * 7", "n * 9")
    assert included(judged(tmp_path, one_file(source, new))) == {"limit": "changed"}


# ---- constants ----

TABLES = """
    static const int inner[] = {1, 2, 3};
    static const int *const outer[] = {inner, inner + 1};
    static const int apart[] = {7, 8, 9};
    int direct(int n) { return inner[n]; }
    int indirect(int n) { return outer[n][0]; }
    int unrelated(int n) { return apart[n]; }
"""


def test_users_of_a_changed_constant_change_also_through_pointers(tmp_path: Path) -> None:
    changes = judged(tmp_path, one_file(TABLES, TABLES.replace("{1, 2, 3}", "{1, 2, 4}")))
    assert {f.name: f.reason for f in changes.functions} == {
        "direct": "uses changed constant inner",
        "indirect": "uses changed constant outer",
    }
    (matched,) = changes.matched.values()
    assert "inner" not in matched
    assert "outer" not in matched
    assert matched["apart"] == "apart"


def test_a_changed_constant_of_another_unit_changes_its_users(tmp_path: Path) -> None:
    table = '__attribute__((visibility("hidden"))) extern const int table[4];'
    user = table + "int use(int n) { return table[n & 3]; } int other(int n) { return n; }"
    recipe = Recipe(
        {"table.c": table + "const int table[4] = {1};", "use.c": user},
        {"table.c": table + "const int table[4] = {2};", "use.c": user},
    )
    assert included(judged(tmp_path, recipe)) == {"use": "changed"}


def test_a_changed_constant_that_unchanged_code_reads_is_refused(tmp_path: Path) -> None:
    table = '__attribute__((visibility("hidden"))) extern const int table[4];'
    recipe = Recipe(
        {"table.c": table + "const int table[4] = {1}; int own(void) { return table[2]; }"},
        {"table.c": table + "const int table[4] = {2}; int own(void) { return table[3]; }"},
        shared={"use.c": table + "int use(int n) { return table[n & 3]; }"},
    )
    pair = built(tmp_path, recipe)
    shared = tuple(path for path in pair.old_link.inputs if path.name == "use.o")
    with pytest.raises(BuildRefusedError) as caught:
        judge(replace(pair, unchanged=shared), JudgeOptions())
    assert caught.value.reason == "constant-exported"


# ---- new functions ----


def test_new_functions_are_included_when_something_needs_them(tmp_path: Path) -> None:
    old = "int api(int n) { return n; }"
    new = """
        __attribute__((noinline)) static int deep(int n) { return n * 3 + 1; }
        __attribute__((noinline)) static int near(int n) { return deep(n) * n; }
        static int (*const handlers[])(int) = {near};
        int api(int n) { return handlers[n](n); }
        int unused_new(int n) { return n - 1; }
    """
    new = new.replace("handlers[n](n)", "handlers[n & 0 ? n : n / 2](n)")
    recipe = one_file(old.replace("return n;", "return n + 40000;"), new)
    changes = judged(tmp_path, recipe)
    assert included(changes) == {"api": "changed", "near": "new", "deep": "new"}
    assert any("unused_new" in note for note in changes.notes)


def test_a_new_unit_is_followed(tmp_path: Path) -> None:
    recipe = Recipe(
        {"a.c": "int api(int n) { return n + 400; }"},
        {"a.c": "int fresh(int); int api(int n) { return fresh(n) + 1; }",
         "b.c": "int fresh(int n) { return n / 7; } int idle(int n) { return n; }"},
    )  # fmt: skip
    assert included(judged(tmp_path, recipe)) == {"api": "changed", "fresh": "new"}


def test_a_removed_callback_that_live_memory_calls(tmp_path: Path) -> None:
    source = """
        typedef int (*callback)(int);
        static callback current;
        static int before(int n) { return n + 1; }
        void start(void) { current = before; }
        int fire(int n) { return current(n); }
    """
    recipe = one_file(source, source.replace("before", "after"))
    error = refused(tmp_path, recipe)
    assert error.reason == "function-held"
    assert "start stores it" in error.cause
    options = JudgeOptions(allow_data=frozenset({"before"}))
    changes = judged(tmp_path / "allowed", recipe, options)
    assert included(changes) == {"start": "changed", "after": "new"}


# ---- clones, static locals, aliases ----


def test_renumbered_static_locals_keep_their_own_values(tmp_path: Path) -> None:
    old = """
        int first(void) { static int count; return ++count; }
        int second(int n) { static int count; count += n; return count; }
    """
    new = """
        int zeroth(int n) { static int count; count ^= n; return count; }
        int second(int n) { static int count; count += n; return count; }
        int first(void) { static int count; return ++count * zeroth(7); }
    """
    for compiler in ("gcc", "clang"):
        pair = built(tmp_path / compiler, one_file(old, new, compiler=compiler))
        changes = judge(pair, JudgeOptions())
        (matched,) = changes.matched.values()
        assert "first" in included(changes)
        assert "second" not in included(changes)
        names = {old: new for new, old in matched.items()}
        assert len(names) == 2  # the new variable has no old one
        owners = _owners(pair.units[0].new.sectioned)  # type: ignore[union-attr]
        before = _owners(pair.units[0].old.sectioned)  # type: ignore[union-attr]
        assert {before[o]: owners[n] for n, o in matched.items()} == {
            "first": "first",
            "second": "second",
        }


def _owners(path: Path) -> dict[str, str]:
    """Static local → the function that it is of. `first` has the code of `zeroth` inlined."""
    view = Relocatable.load(path)
    owners: dict[str, str] = {}
    for function in ("first", "zeroth", "second"):
        if function in view.functions:
            for reference in view.references_of(view.functions[function]):
                if isinstance(reference.target, Named) and "count" in reference.target.symbol.name:
                    owners[reference.target.symbol.name] = function
    return owners


def test_a_static_local_that_may_have_moved_is_refused(tmp_path: Path) -> None:
    old = "int first(void) { static int count; return ++count; } int second(void) { return 12345; }"
    new = "int first(void) { return 54321; } int second(void) { static int count; return ++count; }"
    recipe = one_file(old, new)
    assert refused(tmp_path / "a", recipe).reason == "static-ambiguous"
    options = JudgeOptions(allow_data=frozenset({"count"}))
    changes = judged(tmp_path / "b", recipe, options)
    assert [a.subject for a in changes.allowances] == ["count"]


def test_clones_are_matched_across_renumbering(tmp_path: Path) -> None:
    old = CLONES
    new = CLONES.replace("// more", "int most(int n) { return work(n, 11) + work(n * 2, 11); }")
    new = new.replace("n * 7", "n * 9")
    changes = judged(tmp_path, one_file(old, new))
    assert included(changes)["plain"] == "changed"
    assert not {name for name in included(changes) if name in ("some", "lots")}


CLONES = """
    __attribute__((noinline)) static int work(int n, int k)
    {
        int sum = 0;
        for (int i = 0; i < n; i++)
            sum += i * k ^ (sum >> 3);
        return sum;
    }
    // more
    int some(int n) { return work(n, 3) + work(n + 2, 3); }
    int lots(int n) { return work(n, 7) * 2; }
    int plain(int n) { return n * 7 + 100; }
"""


def test_a_function_and_its_cold_part_go_together(tmp_path: Path) -> None:
    source = """
        #include <stdio.h>
        #include <stdlib.h>
        __attribute__((cold, noinline)) void complain(int n) { printf("bad %d\\n", n); }
        int api(int n) { if (__builtin_expect(n > 4, 0)) { complain(n); abort(); } return n * 2; }
    """
    changes = judged(
        tmp_path, one_file(source, source.replace("complain(n); ", "complain(n + 1); "))
    )
    (function,) = changes.functions
    assert (function.name, function.old_name) == ("api", "api")
    assert function.cold == ("api.cold",)
    assert function.old_cold == ("api.cold",)


def test_an_alias_is_included_once(tmp_path: Path) -> None:
    source = """
        int real(int n) { return n * 3 + 40000; }
        extern int other(int n) __attribute__((alias("real")));
    """
    changes = judged(tmp_path, one_file(source, source.replace("n * 3", "n * 5")))
    assert len(changes.functions) == 1


def test_functions_that_share_folded_code_are_refused(tmp_path: Path) -> None:
    source = """
        extern int sink(int);
        int one(int n) { return sink(n * 3) + sink(n + 9) * 17; }
        extern int two(int n) __attribute__((alias("one")));
    """
    new = source.replace('extern int two(int n) __attribute__((alias("one")));',
                         "int two(int n) { return sink(n * 4) + 1; }")  # fmt: skip
    recipe = one_file(source, new)
    assert refused(tmp_path, recipe).reason == "shared-code"


# ---- C++ ----

CLASSES = """
    #include <stdexcept>
    #include <vector>
    template <typename T> T sum(const std::vector<T> &all)
    { T s{}; for (auto &x : all) s += x; return s; }
    struct Shape { virtual ~Shape() = default; virtual int area(int n) const { return n; } };
    struct Square : Shape { int area(int n) const override { return n * n; } };
    int use(const std::vector<int> &v) { return sum(v); }
    long use(const std::vector<long> &v) { return sum(v); }
    int guard(int n)
    {
        try { if (n > 5) throw std::runtime_error("big"); return n; }
        catch (const std::logic_error &) { return -1; }
    }
    Shape *make(bool square) { return square ? new Square : new Shape; }
"""


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cplusplus_change_of_one_virtual_function(tmp_path: Path, compiler: str) -> None:
    recipe = Recipe({"a.cc": CLASSES}, {"a.cc": CLASSES.replace("n * n", "n * n + 100")},
                    compiler=compiler)  # fmt: skip
    assert included(judged(tmp_path, recipe)) == {"_ZNK6Square4areaEi": "changed"}


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_change_of_the_caught_type_alone_is_found(tmp_path: Path, compiler: str) -> None:
    """The code stays the same, byte for byte; only the exception table differs."""
    new = CLASSES.replace("std::logic_error &", "std::range_error &")
    recipe = Recipe({"a.cc": CLASSES}, {"a.cc": new}, compiler=compiler)
    assert included(judged(tmp_path, recipe)) == {"_Z5guardi": "changed"}


def test_an_inline_function_of_two_units_is_changed_once(tmp_path: Path) -> None:
    header = "struct S { __attribute__((noipa)) int f(int n) { return n * 3 + 777; } };"
    units = {"a.cc": header + "int a(S s) { return s.f(1); }",
             "b.cc": header + "int b(S s) { return s.f(2); }"}  # fmt: skip
    new = {name: text.replace("n * 3", "n * 5") for name, text in units.items()}
    changes = judged(tmp_path, Recipe(units, new, compiler="g++"))
    assert [(f.name, f.unit.source) for f in changes.functions] == [("_ZN1S1fEi", "a.cc")]


def test_a_weak_function_that_a_strong_one_replaced_does_not_count(tmp_path: Path) -> None:
    weak = "__attribute__((weak)) int policy(int n) { return n * 3 + 777; } "
    weak += "int api(int n) { return policy(n) * 7 + 1000; }"
    recipe = Recipe(
        {"a.c": weak}, {"a.c": weak.replace("n * 3", "n * 5").replace("1000", "2000")},
        shared={"b.c": "int policy(int n) { return n / 9; }"},
    )  # fmt: skip
    assert included(judged(tmp_path, recipe)) == {"api": "changed"}


# ---- hooks and switches ----


def test_hooks_are_found_and_included(tmp_path: Path) -> None:
    include = Path(__file__).parents[2] / "src/naht/hotpatch/include"
    old = "int limit = 5; int api(int n) { return n > limit ? 10000 : n; }"
    new = f"""
        #include "{include}/naht.h"
        int limit = 5; int api(int n) {{ return n >= limit ? 10000 : n; }}
        static int lower(void) {{ limit = 4; return 0; }}
        NAHT_POST_APPLY(lower);
    """
    changes = judged(tmp_path, one_file(old, new))
    assert (changes.hooks.pre_apply, changes.hooks.post_apply) == ("", "lower")
    assert included(changes) == {"api": "changed", "lower": "new"}


def test_a_switch_that_is_not_needed_is_an_error(tmp_path: Path) -> None:
    recipe = one_file(MANY, MANY.replace("LIMIT", "77"), flags=("-O2", "-fPIC", "-DLIMIT=66"))
    with pytest.raises(UsageError, match="--allow-data total"):
        judged(tmp_path, recipe, JudgeOptions(allow_data=frozenset({"total"})))


def test_static_local_constants_of_different_functions_are_strangers(tmp_path: Path) -> None:
    """One function is gone and another is new, each with a table of the same name that it gives
    away: what live memory holds of the old table nobody has changed."""
    text = """
        __attribute__((visibility("hidden"))) const int *%s(void) {{
            static const int table[] = {{%d, 2}}; return table; }}
        int api(int n) {{ static const int table[] = {{5, 6, 7}}; return table[n] + %d; }}
    """
    old, new = (
        text.replace("{{", "{").replace("}}", "}") % k for k in (("one", 1, 1), ("two", 9, 2))
    )
    assert included(judged(tmp_path, one_file(old, new)))["api"] == "changed"


HOOKED = """
#include <naht.h>
int limit = %d;
__attribute__((noreturn)) void all(void) { for (;;) asm volatile("nop; nop; nop; nop; nop; nop"); }
int uses(int n) { asm volatile("nop; nop; nop; nop; nop; nop"); return n + limit; }
int another(int n) { asm volatile("nop; nop; nop; nop; nop; nop"); return n + 1; }
%s
"""
HOOK = "static int set(void) { limit = 6; return 0; } NAHT_POST_APPLY(set);"


def test_a_hook_without_a_changed_function_takes_one_along(tmp_path: Path) -> None:
    """One that uses the same, and that comes to an end."""
    include = Path(naht.hotpatch.__file__).parent / "include"
    flags = ("-O2", "-fPIC", f"-I{include}")
    recipe = one_file(HOOKED % (5, ""), HOOKED % (6, HOOK), flags=flags)
    changes = judged(tmp_path, recipe, JudgeOptions(allow_data=frozenset({"limit"})))
    assert included(changes) == {"set": "new", "uses": "changed"}
    (carrier,) = (f for f in changes.functions if f.name == "uses")
    assert "carries the hooks" in carrier.reason


def test_a_hook_with_nobody_to_carry_it_is_nothing(tmp_path: Path) -> None:
    include = Path(naht.hotpatch.__file__).parent / "include"
    flags = ("-O2", "-fPIC", f"-I{include}")
    text = "#include <naht.h>\nint limit; int tiny(void) { return 0; }\n%s\n"
    error = refused(tmp_path, one_file(text % "", text % HOOK, flags=flags))
    assert error.reason == "nothing-changed"
