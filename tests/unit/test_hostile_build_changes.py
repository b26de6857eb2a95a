"""Changes that look harmless in an object diff, and would mislead a live process."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.native.judge import JudgeOptions
from tests.builders.judged_pair import included, judged, one_file, refused
from tests.builders.native_pair import Recipe

pytestmark = pytest.mark.compiler

BODY = 'asm volatile("nop; nop; nop; nop; nop; nop; nop; nop");'
CALLER = f"int scale(int); int api(int n) {{ {BODY} return scale(n) %s; }}\n"
SCALE = f"int scale(int n) {{ {BODY} return n * %d; }}\n"
REST = f"int rest(int n) {{ {BODY} return n + 1; }}\n"
NAMED = (
    f"enum state {{ IDLE, %s BUSY }}; enum state s; int api(void) {{ {BODY} return s == BUSY; }}\n"
)
UNNAMED = f"enum {{ IDLE, %s BUSY }}; int s; int api(void) {{ {BODY} return s == BUSY; }}\n"


def moved(tmp_path: Path, before: str, after: str) -> Recipe:
    """`before` in helper.c becomes `after` in case.c; another function there changes too."""
    return Recipe(
        {"case.c": CALLER % "", "helper.c": before + REST},
        {"case.c": after + CALLER % "+ 100", "helper.c": REST},
    )


def test_a_function_that_changes_while_it_moves_to_another_file(tmp_path: Path) -> None:
    error = refused(tmp_path, moved(tmp_path, SCALE % 2, SCALE % 3))
    assert error.reason == "moved-between-files"
    assert "scale moved from helper.c to case.c" in error.cause


def test_a_file_that_is_renamed_while_it_changes(tmp_path: Path) -> None:
    caller = CALLER % ""
    recipe = Recipe(
        {"case.c": caller, "helper.c": SCALE % 2}, {"case.c": caller, "scale.c": SCALE % 3}
    )
    assert refused(tmp_path, recipe).reason == "moved-between-files"


def test_a_function_that_moves_as_it_is_needs_nothing(tmp_path: Path) -> None:
    changes = judged(tmp_path, moved(tmp_path, SCALE % 2, SCALE % 2))
    assert included(changes)["api"] == "changed"


def test_a_function_that_moves_with_its_static_variable(tmp_path: Path) -> None:
    counter = f"int scale(int n) {{ static int calls; {BODY} return n * ++calls; }}\n"
    assert refused(tmp_path, moved(tmp_path, counter, counter)).reason == "moved-between-files"


def test_a_static_variable_that_becomes_another_files_global(tmp_path: Path) -> None:
    user = f"int api(int n) {{ {BODY} return total += n %s; }}\n"
    recipe = Recipe(
        {"case.c": "static int total;" + user % "", "other.c": REST},
        {"case.c": "extern int total;" + user % "+ 1", "other.c": REST + "int total;"},
    )
    error = refused(tmp_path, recipe)
    assert error.reason == "moved-between-files"
    assert "total" in error.cause


def test_an_inline_function_whose_linked_copy_goes_away(tmp_path: Path) -> None:
    """The first file had the copy that was linked, and uses the function no longer."""
    inline = f"__attribute__((noinline)) inline int twice(int n) {{ {BODY} return n * %d; }}\n"
    first = f"int first(int n) {{ {BODY} return %s; }}\n"
    second = f"int second(int n) {{ {BODY} return twice(n); }}\n"
    recipe = Recipe(
        {"a.cc": inline % 2 + first % "twice(n)", "b.cc": inline % 2 + second},
        {"a.cc": inline % 3 + first % "n", "b.cc": inline % 3 + second},
        compiler="g++",
    )
    error = refused(tmp_path, recipe)
    assert error.reason == "moved-between-files"
    assert "from a.cc to b.cc" in error.cause


@pytest.mark.parametrize("text", [NAMED, UNNAMED], ids=["named", "unnamed"])
def test_a_member_put_into_the_middle_of_an_enumeration(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, one_file(text % "", text % "ASLEEP,"))
    assert error.reason == "layout-changed"
    assert "BUSY = 2 where it was 1" in error.cause


def test_a_member_at_the_end_of_an_enumeration(tmp_path: Path) -> None:
    new = (NAMED % "").replace("BUSY }", "BUSY, ASLEEP }").replace("== BUSY", ">= BUSY")
    assert included(judged(tmp_path, one_file(NAMED % "", new))) == {"api": "changed"}


def test_the_layout_switch_covers_enumerations(tmp_path: Path) -> None:
    options = JudgeOptions(allow_layout=frozenset({"enum state"}))
    changes = judged(tmp_path, one_file(NAMED % "", NAMED % "ASLEEP,"), options)
    assert [a.subject for a in changes.allowances] == ["enum state"]


LABELS = """
void keep(void **); int step(int n) {{
  static void *{const}places[] = {{&&one, &&two}}; {escape}
  goto *places[n & 1];
one: {body} return n + {number};
two: {body} return n * 3; }}
"""


def test_a_writable_table_of_labels_of_a_changed_function(tmp_path: Path) -> None:
    old, new = (
        LABELS.format(const="", escape="keep(places);", body=BODY, number=k) for k in (7, 8)
    )
    error = refused(tmp_path, one_file(old, new))
    assert error.reason == "label-stored"
    assert "places" in error.cause


def test_a_label_that_is_kept_in_memory(tmp_path: Path) -> None:
    text = f"""
void *place; int step(int n) {{
  if (place) goto *place;
  {BODY} place = &&again; return n;
again: {BODY} return n + %d; }}
"""
    assert refused(tmp_path, one_file(text % 7, text % 8)).reason == "label-stored"


KEEPER = """
int (*kept[4])(void *, int); void *objects[4];
template <class F> int enter(void *f, int n) {{ {body} return (*static_cast<F *>(f))(n); }}
template <class F> void keep(int at, F f) {{ kept[at] = enter<F>; objects[at] = new F(f); }}
int api(int n) {{
  int k = n; long j = n; (void)k; (void)j; {first} {second} return kept[0](objects[0], n); }}
"""
PLUS = f"keep(0, [](int x) {{ {BODY} return x + 1; }});"
TWICE = f"keep(1, [](int x) {{ {BODY} return x * 2; }});"
BEFORE = f"keep(2, [](int x) {{ {BODY} return x - 1; }});"
ONE_KEPT = f"keep(0, [k](int x) {{ {BODY} return x + k; }});"
TWO_KEPT = f"keep(0, [j, k](int x) {{ {BODY} return x + k + int(j); }});"


def lambdas(tmp_path: Path, old: tuple[str, str], new: tuple[str, str], compiler: str) -> Recipe:
    texts = [KEEPER.format(body=BODY, first=a, second=b) for a, b in (old, new)]
    return Recipe({"case.cc": texts[0]}, {"case.cc": texts[1]}, compiler=compiler)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_lambda_put_before_others(tmp_path: Path, compiler: str) -> None:
    recipe = lambdas(tmp_path, (PLUS, TWICE), (BEFORE + PLUS, TWICE), compiler)
    assert refused(tmp_path, recipe).reason == "lambda-renumbered"


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_lambda_with_another_body_is_changed_alone(tmp_path: Path, compiler: str) -> None:
    recipe = lambdas(tmp_path, (PLUS, TWICE), (PLUS, TWICE.replace("* 2", "* 3")), compiler)
    (name,) = included(judged(tmp_path, recipe))
    assert "enter" in name


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_lambda_that_captures_more(tmp_path: Path, compiler: str) -> None:
    error = refused(tmp_path, lambdas(tmp_path, (ONE_KEPT, TWICE), (TWO_KEPT, TWICE), compiler))
    assert error.reason == "layout-changed"
    assert "api::(lambda 1)" in error.cause
