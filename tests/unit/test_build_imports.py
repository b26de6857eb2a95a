"""New code must not call the old code of another object by a new prototype."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.judged_pair import included, judged, one_file, refused

pytestmark = pytest.mark.compiler

COMPILERS = [("gcc", "-O0"), ("gcc", "-O2"), ("clang", "-O2")]
CALLER = """
struct place { int family; char text[108]; };
DECLARED;
__attribute__((noinline)) int visit(struct place *p, long size) { BODY }
int api(struct place *p) { return visit(p, sizeof *p); }
"""


def caller(declared: str, body: str) -> str:
    return CALLER.replace("DECLARED", declared).replace("BODY", body)


OLD = caller("void keep(struct place *, long)", "keep(p, size); return 0;")


@pytest.mark.parametrize(("compiler", "level"), COMPILERS)
@pytest.mark.parametrize(
    "new",
    [
        pytest.param(
            caller("int keep(struct place *, long)", "return keep(p, size) ? -1 : 0;"),
            id="a result where there was none",
        ),
        pytest.param(
            caller("void keep(struct place *, long, int)", "keep(p, size, 1); return 0;"),
            id="one more argument",
        ),
        pytest.param(
            caller("void keep(long, struct place *)", "keep(size, p); return 0;"),
            id="another order",
        ),
    ],
)
def test_a_new_prototype_of_an_import_is_refused(
    tmp_path: Path, new: str, compiler: str, level: str
) -> None:
    error = refused(tmp_path, one_file(OLD, new, compiler=compiler, flags=(level, "-fPIC")))
    assert error.reason == "import-changed"
    assert "keep" in error.cause
    assert "visit" in error.cause


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(
            caller("void keep(struct place *, long)", "if (size > 9) keep(p, 9); return 0;"),
            id="called otherwise, declared as before",
        ),
        pytest.param(
            caller(
                "void keep(struct place *, long); int more(int)", "keep(p, size); return more(1);"
            ),
            id="another import",
        ),
        pytest.param(
            caller("void keep(struct place *, unsigned long)", "keep(p, size); return 1;"),
            id="another sign",
        ),
        pytest.param(
            caller("void keep(void *, long)", "keep(p, size); return 1;"),
            id="a pointer to anything",
        ),
    ],
)
def test_what_the_old_function_takes_is_accepted(tmp_path: Path, new: str) -> None:
    assert included(judged(tmp_path, one_file(OLD, new))) == {"visit": "changed"}


def test_a_function_of_the_object_itself_may_change_with_its_callers(tmp_path: Path) -> None:
    hidden = '__attribute__((visibility("hidden"), noinline)) '
    body = "{ for (long i = 0; i < n; i++) p->text[i] = p->text[n - i]; RETURN }"
    old = caller(hidden + f"void keep(struct place *p, long n) {body}", "keep(p, size); return 0;")
    new = caller(hidden + f"int keep(struct place *p, long n) {body}", "return keep(p, size);")
    sides = old.replace("RETURN", ""), new.replace("RETURN", "return p->family;")
    assert "visit" in included(judged(tmp_path, one_file(*sides)))
