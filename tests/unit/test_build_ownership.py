"""A fix that changes who frees what is refused: live objects were made by the old rule."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from naht.build.native.judge import JudgeOptions
from naht.errors import UsageError
from tests.builders.judged_pair import included, judged, one_file, refused
from tests.builders.native_pair import Recipe

pytestmark = pytest.mark.compiler

COMPILERS = [("gcc", "-O0"), ("gcc", "-O2"), ("clang", "-O2")]
VOUCHED = JudgeOptions(allow_ownership=frozenset({"struct entity"}))

ENTITIES = r"""
#include <stdlib.h>
#include <string.h>
struct entity { char *name; long uses; };
extern char *shared(const char *name);
extern int is_shared(const char *name);
static long kept;
__attribute__((noinline)) struct entity *entity_new(const char *name)
{
    struct entity *made = calloc(1, sizeof *made);
    if (!made) return 0;
    made->name = MAKE;
    return made;
}
__attribute__((noinline)) LINKAGE void entity_free(struct entity *entity)
{
    RELEASE;
    free(entity);
}
void drop(struct entity *entity) { if (entity && !entity->uses) { kept--; entity_free(entity); } }
long used(struct entity *entity) { return OTHER; }
"""
SHARED, OWNED = "shared(name)", "strdup(name)"
KEEPS, FREES = "if (!is_shared(entity->name)) free(entity->name)", "free(entity->name)"


def source(make: str, release: str, other: str = "entity->uses", linkage: str = "") -> str:
    filled = ENTITIES.replace("MAKE", make).replace("RELEASE", release)
    return filled.replace("OTHER", other).replace("LINKAGE", linkage)


OLD = source(SHARED, KEEPS)
MADE = "*to = made; return 0;"


@pytest.mark.parametrize(("compiler", "level"), COMPILERS)
def test_maker_and_releaser_that_change_together_are_refused(
    tmp_path: Path, compiler: str, level: str
) -> None:
    recipe = one_file(OLD, source(OWNED, FREES), compiler=compiler, flags=(level, "-fPIC"))
    error = refused(tmp_path, recipe)
    assert error.reason == "ownership-changed"
    for told in ("entity_new", "entity_free", "struct entity", "shared 1 → 0 times", "is_shared"):
        assert told in error.cause
    assert "--allow-ownership 'struct entity'" in error.next_step


def test_a_releaser_inlined_into_its_only_caller_is_seen(tmp_path: Path) -> None:
    old, new = (
        source(make, release, linkage="static")
        .replace("__attribute__((noinline)) static", "static inline")
        .replace("drop(struct entity *entity) {", "drop(void *g) { struct entity *entity = g;")
        for make, release in ((SHARED, KEEPS), (OWNED, FREES))
    )  # fmt: skip
    error = refused(tmp_path, one_file(old, new, flags=("-O2", "-fPIC")))
    assert error.reason == "ownership-changed"
    assert "entity_free" in error.cause


@pytest.mark.parametrize(
    ("declared", "meant"),
    [
        pytest.param("LINKAGE void entity_free(", "LINKAGE int entity_free(", id="int free"),
        pytest.param(
            "LINKAGE void entity_free(", "LINKAGE struct entity *entity_unref(", id="T *unref"
        ),
        pytest.param(
            "struct entity *entity_new(const char *name)",
            "int entity_new(struct entity **to, const char *name)", id="int new(T **)",
        ),
    ],
)  # fmt: skip
def test_a_result_that_is_a_status_hides_nobody(tmp_path: Path, declared: str, meant: str) -> None:
    def shaped(text: str) -> str:
        assert declared in text
        text = text.replace(declared, meant)
        if "unref" in meant:
            text = text.replace("entity_free(entity)", "entity_unref(entity)")
        if "**to" in meant:
            text = text.replace("return 0;", "return -1;").replace("return made;", MADE)
        else:
            text = text.replace("    free(entity);", "    free(entity); return 0;")
        return text.replace("LINKAGE", "")

    sides = (
        shaped(ENTITIES).replace("MAKE", make).replace("RELEASE", release).replace("OTHER", "0")
        for make, release in ((SHARED, KEEPS), (OWNED, FREES))
    )  # fmt: skip
    error = refused(tmp_path, one_file(*sides, flags=("-O2", "-fPIC")))
    assert error.reason == "ownership-changed"
    assert "struct entity" in error.cause


def test_the_authors_word_is_taken_and_recorded(tmp_path: Path) -> None:
    changes = judged(tmp_path, one_file(OLD, source(OWNED, FREES)), VOUCHED)
    assert included(changes) == {"entity_new": "changed", "entity_free": "changed"}
    assert [(a.switch, a.subject) for a in changes.allowances] == [
        ("--allow-ownership", "struct entity")
    ]


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(source(OWNED, KEEPS), id="only the maker"),
        pytest.param(source(SHARED, FREES), id="only the releaser"),
        pytest.param(source(SHARED, FREES, "entity->uses + kept"), id="releaser and a reader"),
        pytest.param(
            source("shared(name); made->uses = 2", KEEPS.replace("!is", "kept && !is")),
            id="both, but they call the same",
        ),
    ],
)
def test_what_changes_no_agreement_is_accepted(tmp_path: Path, new: str) -> None:
    assert included(judged(tmp_path, one_file(OLD, new)))


def test_what_shadow_data_are_made_of_is_nobodys_but_theirs(tmp_path: Path) -> None:
    """Its inline functions allocate and free, in functions that did not before."""
    old = """
    #include <stdlib.h>
    struct entity { long uses; };
    void *room(size_t size) { return malloc(size); }
    long used(struct entity *entity) { return entity->uses * 5 / 3; }
    void end(struct entity *entity) { entity->uses = entity->uses * 5 / 3; }
    """
    new = f"#include <naht.h>\n{old}".replace(
        "return entity->uses * 5 / 3;",
        """
        long *more = naht_shadow_get_or_alloc(entity, 1, sizeof *more, NULL);
        return more ? ++*more : -1;
    """,
    ).replace("entity->uses =", "naht_shadow_free(entity, 1, NULL); entity->uses =")
    place = files("naht.hotpatch") / "include"
    recipe = one_file(old, new, flags=("-O2", "-fPIC", f"-I{place}"))
    found = included(judged(tmp_path, recipe))
    assert found["used"] == found["end"] == "changed"


def test_a_word_for_what_nobody_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--allow-ownership struct entity"):
        judged(tmp_path, one_file(OLD, source(OWNED, KEEPS)), VOUCHED)


def test_an_accessor_inlined_into_a_changed_function_makes_nothing(tmp_path: Path) -> None:
    """What the function around it calls is not its own doing."""
    old = (
        ENTITIES.replace("MAKE", SHARED).replace("LINKAGE", "")
        + """
static inline struct entity *at(struct entity **all, int n) { return n < 9 ? all[n] : 0; }
void renew(struct entity **all, int n)
{ struct entity *one = at(all, n); all[n] = entity_new(one ? one->name : "a"); AGAIN }
"""
    )
    new = old.replace("RELEASE", FREES).replace("AGAIN", "kept += !entity_new(shared(0));")
    old = old.replace("RELEASE", KEEPS).replace("AGAIN", "")
    recipe = one_file(*(side.replace("OTHER", "0") for side in (old, new)), flags=("-O2", "-fPIC"))
    assert included(judged(tmp_path, recipe)) == {"entity_free": "changed", "renew": "changed"}


CLASSES = r"""
struct text { char *bytes; text(const char *from); ~text(); };
extern "C" char *shared(const char *); extern "C" int is_shared(const char *);
char *copied(const char *);
text *text_of(const char *from) { text *made = new text(from); made->bytes = MAKE; return made; }
void forget(text *gone) { RELEASE; delete gone; }
"""


def test_new_and_delete_count_as_well(tmp_path: Path) -> None:
    old = CLASSES.replace("MAKE", "shared(from)").replace("RELEASE", "is_shared(gone->bytes)")
    new = CLASSES.replace("MAKE", "copied(from)").replace("RELEASE", "delete[] gone->bytes")
    error = refused(tmp_path, Recipe({"text.cc": old}, {"text.cc": new}, compiler="g++"))
    assert error.reason == "ownership-changed"
    assert "struct text" in error.cause
