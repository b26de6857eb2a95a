"""What the judge refuses, and that it refuses nothing beside it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from naht.build.compile_pair import BuiltPair
from naht.build.native.judge import JudgeOptions, judge
from naht.errors import BuildRefusedError
from tests.builders.judged_pair import built, included, judged, one_file, refused
from tests.builders.native_pair import Recipe, run

pytestmark = pytest.mark.compiler

API = "int api(int n) { return n * 7 + %d; }\n"
OLD_API, NEW_API = API % 1000, API % 2000


# ---- layouts ----

LAYOUTS = {
    "appended": ("struct s { int a; };", "struct s { int a; int b; };", "struct s"),
    "in the middle": ("struct s { int a; int b; };", "struct s { int a; int x; int b; };", "x at"),
    "into padding": ("struct s { char a; int b; };", "struct s { char a, x; int b; };", "x at"),
    "wider": ("struct s { int a; long b; };", "struct s { long a; long b; };", "another type"),
    "swapped": ("struct s { int a; int b; };", "struct s { int b; int a; };", "b at offset 0"),
    "pointer": ("struct s { int a; void *p; };", "struct s { int a; char *p; };", "p at offset 8"),
    "array": ("struct s { int a; char b[4]; };", "struct s { int a; char b[8]; };", "b at"),
    "bits": ("struct s { int a; int b: 3; };", "struct s { int a; int b: 4; };", "b at"),
    "nested": ("struct s { int a; struct { int x; } in; };",
               "struct s { int a; struct { int y; } in; };", "in at offset 4"),
    "union": ("struct s { int a; union { int x; char *y; } u; };",
              "struct s { int a; union { int x; long y; } u; };", "u at offset 8"),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_changed_struct_is_refused_with_its_member(tmp_path: Path, case: str) -> None:
    old, new, named = LAYOUTS[case]
    use = "int read_it(struct s *p) { return p->a; }\n"
    error = refused(tmp_path, one_file(old + use + OLD_API, new + use + NEW_API))
    assert error.reason == "layout-changed"
    assert "struct s" in error.cause
    assert named in error.cause
    assert "case.c" in error.where


def test_the_layout_switch_is_recorded(tmp_path: Path) -> None:
    old, new, _ = LAYOUTS["appended"]
    use = "int read_it(struct s *p) { return p->a; }\n"
    options = JudgeOptions(allow_layout=frozenset({"struct s"}))
    recipe = one_file(old + use + OLD_API, new + use + NEW_API)
    changes = judged(tmp_path, recipe, options)
    assert [(a.switch, a.subject) for a in changes.allowances] == [("--allow-layout", "struct s")]


HARMLESS = {
    "sign": ("struct s { int a; };", "struct s { unsigned a; };"),
    "const": ("struct s { int a; char *b; };", "struct s { int a; const char *b; };"),
    "typedef": ("struct s { int a; };", "typedef int number; struct s { number a; };"),
    "enumerators": ("enum e { A, B }; struct s { int a; enum e e; };",
                    "enum e { A, B, C }; struct s { int a; enum e e; };"),
    "another struct": ("struct s { int a; };", "struct s { int a; }; struct t { int b; } *t;"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_types_that_lie_alike_are_no_obstacle(tmp_path: Path, case: str) -> None:
    old, new = HARMLESS[case]
    use = "int read_it(struct s *p) { return p->a + 100000; }\n"
    recipe = one_file(old + use + OLD_API, new + use + NEW_API)
    assert included(judged(tmp_path, recipe)) == {"api": "changed"}


def test_a_typedef_of_an_unnamed_struct_is_compared(tmp_path: Path) -> None:
    old = "typedef struct { int a; } thing; int use(thing *p) { return p->a; }\n"
    new = old.replace("int a; }", "int a; int b; }")
    assert (
        "thing has the new member b"
        in refused(tmp_path, one_file(old + OLD_API, new + NEW_API)).cause
    )


PARSER = """
#include <stdlib.h>
struct parser {{ int depth; char open; {new} long size; {more} }};
struct parser *current; struct parser first;
int depth_of(struct parser *p) {{ return p->depth + 100000; }}
struct parser *make(void) {{ struct parser *p = calloc(1, sizeof *p); p->size = 7; return p; }}
"""


@pytest.mark.parametrize(
    ("new", "more", "said", "step"),
    [
        ("", "int limit;", "has the new member limit at offset 16; has 24 bytes where it had 16",
         "keep the new value as shadow data"),
        ("short limit;", "", "has the new member limit at offset 6; live objects have anything "
         "there, as it was padding", "if all objects of it come from zeroed memory"),
        ("int limit;", "", "has the new member limit at offset 8; has size at offset 16 where it "
         "was at 8; has 24 bytes where it had 16", "keep the new value as shadow data"),
    ],
    ids=["appended", "in padding", "inserted"],
)  # fmt: skip
def test_a_changed_struct_is_named_with_its_members_and_users(
    tmp_path: Path, new: str, more: str, said: str, step: str
) -> None:
    old = PARSER.format(new="", more="")
    error = refused(tmp_path, one_file(old + OLD_API, PARSER.format(new=new, more=more) + NEW_API))
    assert error.reason == "layout-changed"
    assert f"struct parser {said}" in error.cause
    assert "Used by depth_of, make. Held by the variable current, first." in error.cause
    assert step in error.next_step


def test_an_exported_function_that_gives_a_result_now(tmp_path: Path) -> None:
    old = "void check(int *p) { if (*p > 70000) *p = 0; }"
    new = "int check(int *p) { if (*p > 80000) { *p = 0; return -1; } return 0; }"
    assert included(judged(tmp_path, one_file(old, new))) == {"check": "changed"}
    error = refused(tmp_path / "back", one_file(new, old))
    assert error.reason == "signature-changed"


def test_a_virtual_function_more_is_refused(tmp_path: Path) -> None:
    old = "struct S { virtual int f(); virtual int g(); }; int S::f() { return 40000; } "
    new = old.replace("virtual int g();", "virtual int g(); virtual int h();")
    more = "int S::g() { return 7; } int use(S *s) { return s->f(); } "
    recipe = Recipe(
        {"a.cc": old + more + OLD_API},
        {"a.cc": new + more + "int S::h() { return 1; } " + NEW_API},
        compiler="g++",
    )
    error = refused(tmp_path, recipe)
    assert error.reason == "layout-changed"
    assert "_ZTV1S" in error.cause


def test_a_changed_base_class_is_refused(tmp_path: Path) -> None:
    old = "struct A { int a; }; struct B { int b; }; struct S : A { int s; }; "
    old += "int f(S *s) { return s->s; } "
    recipe = Recipe({"a.cc": old + OLD_API}, {"a.cc": old.replace("S : A", "S : B") + NEW_API},
                    compiler="g++")  # fmt: skip
    assert "struct S" in refused(tmp_path, recipe).cause


# ---- data ----

DATA = {
    "data-changed": ("int limit = 5;", "int limit = 6;"),
    "data-resized": ("int limits[4];", "int limits[8];"),
    "tls-added": ("int limit;", "int limit; __thread int fresh;"),
    "data-moved": ("int limit = 5;", "const int limit = 5;"),
}


@pytest.mark.parametrize("reason", DATA)
def test_changed_data_is_refused(tmp_path: Path, reason: str) -> None:
    old, new = DATA[reason]
    error = refused(tmp_path, one_file(old + OLD_API, new + NEW_API))
    assert error.reason == reason
    assert "in case.c" in error.cause


GOTO = """
    int f(int n)
    {
        static void *volatile at[] = {&&a, &&b};
        EDIT
        goto *at[n];
    a:  return n + 70000;
    b:  return 3;
    }
"""

INITIALISERS = {
    "text": ('char *name = "a";', 'char *name = "b";'),
    "pointer": ("int a, b; int *p = &a;", "int a, b; int *p = &b;"),
    "function": ("int f(void) { return 10000; } int g(void) { return 20000; } int (*p)(void) = f;",
                 "int f(void) { return 10000; } int g(void) { return 20000; } int (*p)(void) = g;"),
    "from zero": ("int a;", "int a = 1;"),
    "to zero": ("int a = 1;", "int a;"),
    "static local": ("int f(void) { static int n = 3; return n++; }",
                     "int f(void) { static int n = 4; return n++; }"),
    "constant behind": ("static const int t[] = {1}; const int *p = t;",
                        "static const int t[] = {2}; const int *p = t;"),
    "label": (GOTO.replace("EDIT", ""), GOTO.replace("EDIT", "if (n > 7) n /= 3;")),
}  # fmt: skip


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("case", INITIALISERS)
def test_a_changed_initial_value_is_refused(tmp_path: Path, case: str, compiler: str) -> None:
    old, new = INITIALISERS[case]
    recipe = one_file(old + OLD_API, new + NEW_API, compiler=compiler)
    assert refused(tmp_path, recipe).reason == "data-changed"


def test_an_initial_value_may_be_allowed_by_name(tmp_path: Path) -> None:
    old, new = DATA["data-changed"]
    options = JudgeOptions(allow_data=frozenset({"limit"}))
    changes = judged(tmp_path, one_file(old + OLD_API, new + NEW_API), options)
    assert [(a.switch, a.subject) for a in changes.allowances] == [("--allow-data", "limit")]
    assert included(changes) == {"api": "changed"}


def test_the_type_of_a_variable_counts_and_not_only_its_size(tmp_path: Path) -> None:
    recipe = one_file("int shared; " + OLD_API, "float shared; " + NEW_API)
    error = refused(tmp_path, recipe)
    assert (error.reason, "shared" in error.cause) == ("data-resized", True)


def test_a_constant_table_may_grow(tmp_path: Path) -> None:
    for compiler in ("gcc", "clang"):
        old = "static const long t[] = {1, 2}; long get(unsigned n) { return n < %d ? t[n] : 0; }"
        recipe = one_file(old % 2, old.replace("2}", "2, 3}") % 3, compiler=compiler)
        assert included(judged(tmp_path / compiler, recipe)) == {"get": "changed"}


def test_a_changed_exported_constant_is_refused(tmp_path: Path) -> None:
    recipe = one_file("const int t[] = {1, 2}; " + OLD_API, "const int t[] = {1, 3}; " + NEW_API)
    assert refused(tmp_path, recipe).reason == "constant-exported"


def test_a_static_that_the_new_code_begins_to_write_starts_from_its_constant_value(
    tmp_path: Path,
) -> None:
    old = "static int at[4] = {3, 4, 5, 6}; int get(int n) { return at[n & 3]; } " + OLD_API
    new = old.replace("+ 1000", "+ at[n & 3]++")
    changes = judged(tmp_path, one_file(old, new))
    assert included(changes) == {"api": "changed", "get": "changed"}
    assert "at" not in next(iter(changes.matched.values()))


def test_a_static_that_the_new_code_no_longer_writes_is_refused(tmp_path: Path) -> None:
    new = "static int at[4] = {3, 4, 5, 6}; int get(int n) { return at[n & 3]; } " + NEW_API
    old = new.replace("+ 2000", "+ at[n & 3]++")
    assert refused(tmp_path, one_file(old, new)).reason == "data-moved"


def test_new_variables_and_moved_ones_of_the_same_value_are_fine(tmp_path: Path) -> None:
    get = "int get(void) { return a++ + b++ * 100000; } "
    old = "static int a = 3, b = 4; " + get + OLD_API
    new = "static int fresh = 9; static int b = 4, a = 3; " + get
    new += NEW_API.replace("2000", "2000 + fresh++")
    changes = judged(tmp_path, one_file(old, new))
    assert included(changes) == {"api": "changed"}
    (matched,) = changes.matched.values()
    assert matched == {"a": "a", "b": "b"}


CONSTRUCTORS = {
    "added": ("", "__attribute__((constructor)) static void start(void) { flag = 1; }"),
    "removed": ("__attribute__((destructor)) static void stop(void) { flag = 1; }", ""),
    "body": ("__attribute__((constructor)) void start(void) { flag = 1111; flag2 = 1; }",
             "__attribute__((constructor)) void start(void) { flag = 2222; flag2 = 1; }"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_changed_constructors_are_refused(tmp_path: Path, case: str) -> None:
    flag = "volatile int flag, flag2; "
    old, new = CONSTRUCTORS[case]
    recipe = one_file(flag + old + OLD_API, flag + new + NEW_API)
    assert refused(tmp_path, recipe).reason == "constructor-changed"


def test_a_dynamic_initialiser_of_cplusplus_is_a_constructor(tmp_path: Path) -> None:
    old = "int compute(int); int value = compute(3); "
    recipe = Recipe({"a.cc": old + OLD_API}, {"a.cc": old.replace("(3)", "(4)") + NEW_API},
                    shared={"b.cc": "int compute(int n) { return n; }"},
                    compiler="g++")  # fmt: skip
    assert refused(tmp_path, recipe).reason == "constructor-changed"


def test_a_section_of_unknown_purpose_is_refused(tmp_path: Path) -> None:
    old = '__attribute__((used, section("registry"))) static const int entry = 1; '
    recipe = one_file(old + OLD_API, old.replace("= 1", "= 2") + NEW_API)
    error = refused(tmp_path, recipe)
    assert error.reason == "special-section-changed"
    assert "registry" in error.cause


# ---- what others see ----

OUTSIDE = {
    "export-removed": (OLD_API + "int gone(int n) { return n + 50000; }", NEW_API),
    "signature-changed": ("long api(int n) { return n * 7 + 1000; }",
                          "long api(int n, int m) { return n * 7 + m; }"),
}  # fmt: skip


@pytest.mark.parametrize("reason", OUTSIDE)
def test_broken_promises_to_other_objects_are_refused(tmp_path: Path, reason: str) -> None:
    old, new = OUTSIDE[reason]
    assert refused(tmp_path, one_file(old, new)).reason == reason


def test_a_signature_may_change_inside_the_object(tmp_path: Path) -> None:
    old = """
        __attribute__((noipa)) static int inner(int n) { return n * 7 + 1000; }
        int api(int n) { return inner(n) + 1; }
    """
    new = old.replace("inner(int n)", "inner(int n, int m)").replace("7 + 1000", "7 + m")
    new = new.replace("inner(n) + 1", "inner(n, 2) + 1")
    assert included(judged(tmp_path, one_file(old, new))) == {"api": "changed", "inner": "changed"}


def test_another_symbol_version_is_refused(tmp_path: Path) -> None:
    for side, version in (("old", "V_1"), ("new", "V_2")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "map").write_text(version + " { global: api; local: *; };")
    recipe = one_file(OLD_API, NEW_API, link=("-shared", "-Wl,--version-script=map"))
    error = refused(tmp_path, recipe)
    assert error.reason == "export-removed"
    assert "api@V_1" in error.cause


def test_a_new_library_is_refused(tmp_path: Path) -> None:
    new = "double exp2(double); " + NEW_API.replace("2000", "(int)exp2(n)")
    pair = built(tmp_path / "a", one_file(OLD_API, NEW_API))
    other = built(tmp_path / "b", one_file(OLD_API, new, link=("-shared", "-lm")))
    with pytest.raises(BuildRefusedError) as caught:
        judge(replace(pair, new_link=other.new_link), JudgeOptions())
    assert caught.value.reason == "needed-changed"
    assert "libm.so.6" in caught.value.cause


def test_a_changed_resolver_is_refused(tmp_path: Path) -> None:
    old = """
        static int slow(int n) { return n + 10000; }
        static int fast(int n) { return n + 20000; }
        volatile int wish;
        static void *choose(void) { return wish > 3 ? slow : fast; }
        int pick(int) __attribute__((ifunc("choose")));
    """
    recipe = one_file(old + OLD_API, old.replace("wish > 3", "wish > 5") + NEW_API)
    assert refused(tmp_path, recipe).reason == "ifunc-changed"


def test_changed_assembly_is_refused_and_unchanged_is_not(tmp_path: Path) -> None:
    code = ".text; .globl low; .type low, @function; low: mov $%d, %%eax; ret; .size low, .-low\n"
    recipe = Recipe({"case.c": OLD_API, "low.S": code % 1}, {"case.c": NEW_API, "low.S": code % 2})
    assert refused(tmp_path / "a", recipe).reason == "assembly-changed"
    commented = "# the same\n" + code % 1
    same = Recipe({"case.c": OLD_API, "low.S": code % 1}, {"case.c": NEW_API, "low.S": commented})
    assert included(judged(tmp_path / "b", same)) == {"api": "changed"}


# ---- entries ----


def test_a_function_shorter_than_the_jump_is_refused(tmp_path: Path) -> None:
    recipe = one_file("int api(void) { return 0; }", "int api(void) { return 1; }")
    error = refused(tmp_path, recipe)
    assert error.reason == "too-short"
    assert "api in case.c has 3 bytes" in error.cause


def test_endbr64_is_not_overwritten(tmp_path: Path) -> None:
    """Five bytes are enough for a jump, but not after endbr64."""
    flags = ("-O2", "-fPIC", "-fcf-protection")
    recipe = one_file("int api(void) { return 0; }", "int api(void) { return 1; }", flags=flags)
    error = refused(tmp_path, recipe)
    assert "has 7 bytes of old code; a jump needs 9" in error.cause


ENTRIES = {
    "loop": "nop; 1: dec %edi; jnz 1b; mov $%d, %eax; ret",
    "return": "call *%rdi; add $%d, %eax; ret",
    "table": "jmp 2f; 3: .byte 0x90; 4: nop; nop; 2: lea 5f(%rip), %rax; mov $%d, %ecx; "
             "movslq (%rax), %rdx; add %rax, %rdx; jmp *%rdx; ret; "
             '.section .rodata.api, \\"a\\"; 5: .long 4b - 5b; .text',
    "other part": "mov %edi, %eax; nop; 6: nop; nop; add $%d, %eax; ret; "
                  ".size api, .-api; .globl cold; .type cold, @function; cold: inc %edi; jmp 6b",
}  # fmt: skip


@pytest.mark.parametrize("case", ENTRIES)
def test_an_entry_that_is_jumped_into_is_refused(tmp_path: Path, case: str) -> None:
    old, new = (_assembled(ENTRIES[case].replace("%d", str(n))) for n in (1111, 2222))
    error = refused(tmp_path, one_file(old, new))
    assert "entry-targeted" in error.reason
    assert "api" in error.cause


def test_a_loop_to_the_very_entry_must_be_quiet(tmp_path: Path) -> None:
    loop = "1: dec %edi; jnz 1b; mov $%d, %eax; ret"
    old, new = (_assembled(loop.replace("%d", str(n))) for n in (1111, 2222))
    changes = judged(tmp_path, one_file(old, new))
    assert included(changes) == {"api": "changed"}
    assert changes.looping == ("api",)
    straight = (_assembled(f"dec %edi; mov ${n}, %eax; ret") for n in (1111, 2222))
    assert judged(tmp_path / "straight", one_file(*straight)).looping == ()


def test_calls_and_jumps_elsewhere_are_no_obstacle(tmp_path: Path) -> None:
    body = "test %edi, %edi; jz 1f; dec %edi; call api; 1: add $%d, %eax; jmp 2f; nop; 2: ret"
    old, new = (_assembled(body.replace("%d", str(n))) for n in (1111, 2222))
    assert included(judged(tmp_path, one_file(old, new))) == {"api": "changed"}


def _assembled(body: str) -> str:
    """`api` in assembly, in a C file, in a section as the compiler would choose it."""
    return (
        "int other(int n) { return n * 3 + 70000; }\n"
        f'asm(".text; .globl api; .type api, @function; api: {body}; .size api, .-api");\n'
    )


def test_an_entry_across_pages_is_refused(tmp_path: Path) -> None:
    padding = 'asm(".text; .p2align 12; .skip 4093; .globl api; .type api, @function; api: '
    body = 'mov %edi, %eax; mov %eax, %edi; add $NUMBER, %eax; ret; .size api, .-api");\n'
    other = "int other(int n) { return n * 3 + 70000; }\n"
    old, new = (other + padding + body.replace("NUMBER", n) for n in ("1111", "2222"))
    assert refused(tmp_path, one_file(old, new)).reason == "entry-crosses-page"


# ---- the running binary ----

SERVER = """
#include <stdio.h>
static int limit = 10;
__attribute__((noinline)) int helper(int n) { return n * limit + 70000; }
int unrelated(int n) { return n * 3 + 80000; }
int api(int n) { return helper(n) + 1000; }
"""


def server(folder: Path) -> BuiltPair:
    return built(folder, one_file(SERVER, SERVER.replace("+ 1000", "+ 2000")))


def with_running(pair: BuiltPair, folder: Path, source: str, *more: str) -> BuiltPair:
    folder.mkdir()
    (folder / "case.c").write_text(source)
    path = folder / "libcase.so"
    run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,-soname,libcase.so.1", "-Wl,--build-id", *more,
         "case.c", "-o", str(path)], folder)  # fmt: skip
    return replace(pair, running=path)


def test_the_same_binary_from_elsewhere_is_proved(tmp_path: Path) -> None:
    pair = with_running(server(tmp_path), tmp_path / "running", SERVER)
    assert pair.running.read_bytes() == pair.old_link.path.read_bytes()
    assert included(judge(pair, JudgeOptions())) == {"api": "changed"}


def test_a_stripped_binary_is_proved(tmp_path: Path) -> None:
    pair = with_running(server(tmp_path), tmp_path / "running", SERVER)
    subprocess.run(["strip", "--strip-all", str(pair.running)], check=True)
    assert included(judge(pair, JudgeOptions())) == {"api": "changed"}


@pytest.mark.parametrize(
    ("change", "named"),
    [(("+ 1000", "+ 1001"), "api"), (("+ 70000", "+ 70001"), "helper")],
)
def test_other_code_where_it_matters_is_refused(
    tmp_path: Path, change: tuple[str, str], named: str
) -> None:
    pair = with_running(server(tmp_path), tmp_path / "running", SERVER.replace(*change))
    with pytest.raises(BuildRefusedError) as caught:
        judge(pair, JudgeOptions())
    assert caught.value.reason == "running-differs"
    assert f"{named} of the running binary differs from the old build at +0x" in caught.value.cause


def test_other_code_elsewhere_is_of_no_concern(tmp_path: Path) -> None:
    source = SERVER.replace("+ 80000", "+ 80001")
    pair = with_running(server(tmp_path), tmp_path / "running", source)
    assert included(judge(pair, JudgeOptions())) == {"api": "changed"}


def test_another_layout_is_refused_by_section(tmp_path: Path) -> None:
    source = SERVER.replace("int unrelated", "int grown(int n) { return n / 7; } int unrelated")
    pair = with_running(server(tmp_path), tmp_path / "running", source)
    with pytest.raises(BuildRefusedError) as caught:
        judge(pair, JudgeOptions())
    assert caught.value.reason == "running-differs"
    assert ".text is at" in caught.value.cause


def test_code_that_is_not_where_the_map_says_is_refused(tmp_path: Path) -> None:
    pair = server(tmp_path)
    key = next(k for k in pair.old_link.placements if k[1] == ".text" and k[0].name == "case.o")
    (place,) = pair.old_link.placements[key]
    moved = {**pair.old_link.placements, key: (replace(place, address=place.address - 16),)}
    with pytest.raises(BuildRefusedError) as caught:
        judge(replace(pair, old_link=replace(pair.old_link, placements=moved)), JudgeOptions())
    assert caught.value.reason == "placement-wrong"


def test_a_binary_without_build_id_is_refused(tmp_path: Path) -> None:
    pair = with_running(server(tmp_path), tmp_path / "running", SERVER, "-Wl,--build-id=none")
    with pytest.raises(BuildRefusedError) as caught:
        judge(pair, JudgeOptions())
    assert caught.value.reason == "no-build-id"


def test_all_refusals_come_together(tmp_path: Path) -> None:
    old = "struct s { int a; }; int f(struct s *p) { return p->a; } int limit = 5; " + OLD_API
    new = "struct s { int a, b; }; int f(struct s *p) { return p->b; } int limit = 6; " + NEW_API
    error = refused(tmp_path, one_file(old, new))
    assert error.reason == "layout-changed"
    assert "struct s" in error.cause
    assert "limit" in error.cause
    assert "--allow-data limit" in error.next_step
