"""Addresses of changed constants and of vanished functions: what live memory may hold is refused,
what only passes through registers and calls is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from naht.build.native.judge import JudgeOptions
from tests.builders.judged_pair import included, judged, one_file, refused
from tests.builders.native_pair import Recipe

pytestmark = pytest.mark.compiler

BODY = 'asm volatile("nop; nop; nop; nop; nop; nop; nop; nop");'
PRELUDE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct row { const char *name; int number; };
extern void keep(const void *), *extra(int);
"""
TABLE = 'static const struct row table[] = {{ {{"one", {0}}}, {{"two", 2}}, {{0, 0}} }};\n'
FORMS = [
    pytest.param(("gcc", "-O2", "-fPIC"), id="gcc"),
    pytest.param(("gcc", "-O0", "-fPIC"), id="unoptimised"),
    pytest.param(("gcc", "-O3", "-fPIC", "-fcf-protection"), id="O3"),
    pytest.param(("clang", "-O2", "-fPIC"), id="clang"),
    pytest.param(("gcc", "-O2", "-fno-pie"), id="fixed"),
]


def pair(use: str, form: tuple[str, ...] = ("gcc", "-O2", "-fPIC"), table: str = TABLE) -> Recipe:
    """The table's first number changes, and `use` is the code around it."""
    old, new = (PRELUDE + table.format(n) + use.replace("BODY", BODY) for n in (1, 11))
    compiler, *flags = form
    link = ("-shared",) if "-fPIC" in flags else ("-no-pie", "-nostartfiles", "-Wl,-e,api")
    stubs = {"stubs.c": "void keep(const void *p) {} void *extra(int n) { return 0; }"}
    return Recipe(
        {"case.c": old}, {"case.c": new}, shared={} if "-fPIC" in flags else stubs,
        compiler=compiler, flags=tuple(flags), link=link,
    )  # fmt: skip


HELD = {
    "stored in a variable": (
        "const struct row *now; int api(int n) { BODY now = table + n; return now->number; }",
        "api stores it",
    ),
    "stored in an object": (
        "struct o { long a; const void *p; }; void api(struct o *o) { BODY o->p = &table[1]; }",
        "api stores it",
    ),
    "returned to anybody": (
        "const struct row *api(int n) { BODY return table + n; } "
        "const struct row *(*again)(int) = api;",
        "api returns it",
    ),
    "handed to another object": ("void api(void) { BODY keep(table); BODY }", "handed to keep"),
    "handed on at the end": ("void api(void) { BODY keep(table); }", "handed to keep"),
    "handed to a function by pointer": (
        "void (*hook)(const void *); void api(void) { BODY hook(table); BODY }",
        "through a pointer",
    ),
    "kept by a function of its own": (
        "static const void *mine; __attribute__((noinline)) static void note(const void *p)"
        "{ BODY mine = p; } int api(int n) { BODY note(table + n); BODY return mine != 0; }",
        "note stores it",
    ),
    "copied with a pointer to it": (
        "struct pair { const void *a, *b; }; static const struct pair both = {table, table + 1};"
        "struct pair kept; void api(void) { BODY memcpy(&kept, &both, sizeof kept); BODY }",
        "",
    ),
    "in an object of the stack that is handed on": (
        "void api(void) { const void *many[3] = {table, table + 1, 0}; BODY keep(many); BODY }",
        "handed to keep",
    ),
    "in one of many objects of the stack": (
        "const void *last; void api(int n) { const void *volatile many[8]; BODY "
        "for (int i = 0; i < 8; i++) many[i] = table + i; BODY last = many[n & 7]; }",
        "api stores it",
    ),
    "found and kept": (
        "static int order(const void *k, const void *r)"
        "{ return strcmp(k, ((const struct row *)r)->name); } const void *kept; "
        "void api(const void *k) { BODY kept = bsearch(k, table, 2, sizeof *table, order); BODY }",
        "api stores it",
    ),
    "chosen in a switch": (
        "const void *kept; void api(int n) { const struct row *p = 0; BODY switch (n) {"
        "case 0: p = table; break; case 1: p = extra(1); break; case 2: p = extra(7); break;"
        "case 3: p = table + 1; break; case 4: p = extra(3); break; case 5: p = extra(9); }"
        "BODY kept = p; }",
        "api stores it",
    ),
    "kept by a caller that never returns": (
        "__attribute__((noinline)) static const struct row *find(int n) { BODY return table + n; }"
        "__attribute__((noreturn)) void api(int n) { const struct row *p = find(n); "
        'for (;;) { BODY printf("%d", p->number); } }',
        "never returns",
    ),
}
FREE = {
    "indexed": "int api(int n) { BODY return table[n].number; }",
    "walked": "int api(int n) { BODY int all = 0; "
    "for (const struct row *r = table; r->name; r++) all += r->number * n; return all; }",
    "searched": "static int order(const void *k, const void *r) { "
    "return strcmp(k, ((const struct row *)r)->name); } const char *api(const char *k) { BODY "
    "const struct row *r = bsearch(k, table, 2, sizeof *table, order); return r ? r->name : 0; }",
    "compared and printed": "int api(const char *k) { BODY for (int i = 0; table[i].name; i++) "
    'if (!strcmp(table[i].name, k)) return printf("%s %d", table[i].name, table[i].number); '
    "return memcmp(k, table, sizeof table); }",
    "read by a function of its own": "__attribute__((noinline)) static int sum(const struct row *r)"
    "{ BODY return r[0].number + r[1].number; } int api(int n) { BODY return sum(table + n) + n; }",
    "found by a function of its own": "__attribute__((noinline)) static const struct row *"
    "find(int n) { BODY return table + n; } "
    "int api(int n) { BODY const struct row *r = find(n); return r->number + n; }",
    "content copied": "struct row kept; void api(void) { BODY kept = table[1]; BODY }",
    "distance kept": "long kept; void api(const char *k) { BODY const struct row *r = table; "
    "while (r->name && strcmp(r->name, k)) r++; kept = r - table; }",
    "in an object of the stack": "int api(int n) { const struct row *volatile r = table + n; BODY "
    "return r->number; }",
    "in a switch": "int api(int n) { const struct row *r = table; int x = 0; BODY switch (n) {"
    "case 0: x = r->number; break; case 1: extra(1); break; case 2: extra(7); x = r[1].number; "
    "break; case 3: x = 3; break; case 4: extra(3); break; case 5: extra(9); } BODY return x; }",
    "through another table": "static const struct row *const all[] = {table, table + 1};"
    "int api(int n) { BODY return all[n & 1]->number; }",
}  # fmt: skip


GCC = ("gcc", "-O2", "-fPIC")


@pytest.mark.parametrize("what", HELD)
def test_a_changed_constant_that_live_memory_may_point_to(tmp_path: Path, what: str) -> None:
    use, why = HELD[what]
    error = refused(tmp_path, pair(use, GCC))
    assert error.reason == "constant-held"
    assert "The constant table" in error.cause
    assert why in error.cause
    assert "--allow-data table" in error.next_step


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "what", ["in one of many objects of the stack", "chosen in a switch", "handed on at the end"]
)
def test_what_holds_is_found_however_it_is_compiled(
    tmp_path: Path, what: str, form: tuple[str, ...]
) -> None:
    assert refused(tmp_path, pair(HELD[what][0], form)).reason == "constant-held"


@pytest.mark.parametrize("what", FREE)
def test_a_changed_constant_that_is_only_used(tmp_path: Path, what: str) -> None:
    assert "changed" in included(judged(tmp_path, pair(FREE[what], GCC))).values()


@pytest.mark.parametrize("form", FORMS)
def test_use_is_told_from_holding_however_it_is_compiled(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    """All the uses in one file."""
    recipe = pair(separate(list(FREE.values())), form)
    assert "changed" in included(judged(tmp_path, recipe)).values()


def separate(uses: list[str]) -> str:
    """Each with names of its own."""
    words = r"\b(api|kept|find|sum|order)\b"
    return "\n".join(re.sub(words, rf"\g<1>{n}", use) for n, use in enumerate(uses))


def test_the_author_may_vouch_for_a_held_constant(tmp_path: Path) -> None:
    options = JudgeOptions(allow_data=frozenset({"table"}))
    changes = judged(tmp_path, pair(HELD["stored in an object"][0]), options)
    assert [a.subject for a in changes.allowances] == ["table"]


def test_a_table_of_operations_that_is_registered(tmp_path: Path) -> None:
    text = f"""
struct operations {{ int (*run)(int); }};
static int plus(int n) {{ {BODY} return n + 1; }}
static int minus(int n) {{ {BODY} return n - 1; }}
static const struct operations all = {{ %s }}; const struct operations *now;
int api(int n) {{ if (!now) now = &all; return now->run(n) + plus(minus(n)); }}
"""
    error = refused(tmp_path, one_file(text % "plus", text % "minus"))
    assert error.reason == "constant-held"
    assert "The constant all in case.c changed" in error.cause
    assert "api stores it" in error.cause


def test_names_of_functions_as_text_may_be_held(tmp_path: Path) -> None:
    text = f"""
const char *last; static int %s(int n) {{ {BODY} last = __func__; return n + 1; }}
int api(int n) {{ {BODY} return %s(n); }}
"""
    judged(tmp_path, one_file(text % ("plus", "plus"), text % ("minus", "minus")))


# --- functions ---------------------------------------------------------------------------


OBJECT = "struct o { long a; int (*run)(int); };\n"
CALLBACKS = {
    "stored": ("void api(struct o *o) { BODY o->run = FUNCTION; }", "api stores it"),
    "given to the program": ("int (*api(void))(int) { BODY return FUNCTION; }", "api returns it"),
    "in a variable": (
        "static int (*volatile run)(int) = FUNCTION; int api(int n) { BODY return run(n); }",
        "",
    ),
    "registered": (
        "typedef void handler(int); extern handler *signal(int, handler *);"
        "void api(void) { BODY signal(1, (handler *)FUNCTION); }",
        "handed to signal",
    ),
}


def renamed(use: str) -> Recipe:
    """The function `before` makes way for `after`."""
    sides = []
    for name, number in (("before", 1), ("after", 2)):
        function = f"static int {name}(int n) {{ BODY return n + {number}; }}\n"
        text = "#include <stdlib.h>\n" + OBJECT + function + use.replace("FUNCTION", name)
        sides.append(text.replace("BODY", BODY))
    return one_file(*sides)


@pytest.mark.parametrize("what", CALLBACKS)
def test_a_function_that_is_gone_and_may_be_called_by_live_pointers(
    tmp_path: Path, what: str
) -> None:
    use, why = CALLBACKS[what]
    error = refused(tmp_path, renamed(use))
    assert why in error.cause
    expected = "data-changed" if what == "in a variable" else "function-held"
    assert error.reason == expected


@pytest.mark.parametrize(
    "use",
    [
        "int api(int n) { BODY return FUNCTION(n); }",
        "void api(int *p) { BODY qsort(p, 4, 4, (int (*)(const void *, const void *))FUNCTION); }",
        "int api(int n) { BODY int (*volatile run)(int) = FUNCTION; return run(n); }",
        "static int (*const all[])(int) = {FUNCTION, abs};"
        "int api(int n) { BODY return all[n](n); }",
    ],
    ids=["called", "sorting", "on the stack", "in a table"],
)
def test_a_function_that_is_gone_and_nobody_can_call(tmp_path: Path, use: str) -> None:
    assert included(judged(tmp_path, renamed(use)))["api"] == "changed"


PLAIN = "int run(int n) { BODY return n + 7; }"
MORE = "int run(int n, int more) { BODY return n + more; }"
STORE = "void api(struct o *o) { BODY o->run = (int (*)(int))run; }"


def prototyped(old: str, new: str, use: tuple[str, str]) -> Recipe:
    texts = (
        f"{OBJECT}static __attribute__((noinline)) {function} {more}\n"
        for function, more in ((old, use[0]), (new, use[1]))
    )
    return one_file(*(text.replace("BODY", BODY) for text in texts))


def test_a_function_with_another_prototype_that_live_pointers_call(tmp_path: Path) -> None:
    error = refused(tmp_path, prototyped(PLAIN, MORE, (STORE, STORE)))
    assert error.reason == "function-held"
    assert "run in case.c has another prototype" in error.cause


def test_a_function_that_takes_less_may_be_called_by_live_pointers(tmp_path: Path) -> None:
    assert included(judged(tmp_path, prototyped(MORE, PLAIN, (STORE, STORE)))) == {"run": "changed"}


def test_a_function_with_another_prototype_that_is_only_called(tmp_path: Path) -> None:
    use = "int api(int n) { BODY return run(n%s) + 1; }"
    recipe = prototyped(PLAIN, MORE, (use % "", use % ", n"))
    assert included(judged(tmp_path, recipe)) == {"api": "changed", "run": "changed"}
