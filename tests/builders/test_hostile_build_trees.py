"""Builds that real packages have, and that recording must not mistake for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.native.judge import JudgeOptions, judge
from naht.build.native.pairing import build_pair
from naht.build.native.request import BuildRequest
from naht.errors import ToolError, UsageError
from tests.builders.recorded import built
from tests.builders.small_projects import SOURCES, Project, edited, write_project

pytestmark = pytest.mark.compiler

# As libtool does it: everything goes through an archive, whose members don't say who made them.
ALL_IN_ARCHIVE = Project(
    {**SOURCES, "build.sh": """
set -e
for x in greet helper unrelated; do gcc -O2 -fPIC -Iinclude -c -o $x.o src/$x.c; done
ar rcs all.a greet.o helper.o unrelated.o
gcc -shared -o lib.so -Wl,--whole-archive all.a -Wl,--no-whole-archive
"""},
    "sh build.sh", "lib.so",
)  # fmt: skip


def test_a_header_that_leaves_an_archive_member_as_it_was(tmp_path: Path) -> None:
    used_by_one = edited(ALL_IN_ARCHIVE.files, "src/helper.c", "limit()", "limit() + FACTOR")
    used_by_one = edited(
        used_by_one, "include/limit.h", "int helper", "#define FACTOR 5\nint helper"
    )
    project = Project(used_by_one, ALL_IN_ARCHIVE.command, ALL_IN_ARCHIVE.object)
    new = edited(used_by_one, "include/limit.h", "FACTOR 5", "FACTOR 6")
    with built(tmp_path, project, new) as pair:
        (unit,) = pair.units
        assert unit.source == "src/helper.c"
        assert unit.new is not None and unit.new.line_counted is None  # it has no line in it


def test_members_of_a_thin_archive_are_as_they_were_linked(tmp_path: Path) -> None:
    """The archive holds only their names, and the files are made again for something else."""
    later = "gcc -O0 -fPIC -Iinclude -c -o greet.o src/greet.c"
    thin = edited(ALL_IN_ARCHIVE.files, "build.sh", "ar rcs", "ar rcsT")
    thin = edited(
        thin, "build.sh", "-Wl,--no-whole-archive\n", f"-Wl,--no-whole-archive\n{later}\n"
    )
    project = Project(thin, ALL_IN_ARCHIVE.command, ALL_IN_ARCHIVE.object)
    with built(tmp_path, project, edited(thin, "src/greet.c", "calls++", "calls += 2")) as pair:
        (unit,) = pair.units
        assert unit.source == "src/greet.c"
        assert unit.old is not None and unit.new is not None
        assert [f.name for f in judge(pair, JudgeOptions()).functions] == ["greet"]


def test_a_command_that_works_only_once_says_so(tmp_path: Path) -> None:
    once = edited(ALL_IN_ARCHIVE.files, "build.sh", "set -e\n", "set -e\nln -s lib.so lib.so.1\n")
    project = Project(once, ALL_IN_ARCHIVE.command, ALL_IN_ARCHIVE.object)
    new = edited(once, "include/limit.h", "return 10", "return 12")
    with pytest.raises(ToolError) as caught, built(tmp_path, project, new):
        pass
    assert "a second time" in caught.value.next_step


def test_a_running_binary_that_is_not_there(tmp_path: Path) -> None:
    write_project(tmp_path / "old", ALL_IN_ARCHIVE.files)
    request = BuildRequest(
        old=tmp_path / "old", new=tmp_path / "old", command=ALL_IN_ARCHIVE.command,
        object="lib.so", id="test", running=tmp_path / "gone.so",
    )  # fmt: skip
    with pytest.raises(UsageError) as caught, build_pair(request, lambda _: None):
        pass
    assert "does not exist" in caught.value.cause


# `check` has a line number of its own in each call: with one number for all, the compiler would
# make a clone for it, and inline it elsewhere.
ASSERTING = """
int seen; int odd(int); extern int other(int);
static __attribute__((noinline)) void check(int n, int line)
{ if (odd(n)) { seen = line; odd(line + n); odd(line - n); } }
#define CHECK(n) check(n, __LINE__)
int one(int n) { CHECK(n); return other(n) * %d; }
int two(int n) { CHECK(n + 1); return other(n) * 5; }
int three(int n) { CHECK(n + 2); CHECK(n + 3); return other(n) * 7; }
int odd(int n) { return n & 1; }
"""


def test_line_numbers_that_are_arguments_are_no_change(tmp_path: Path) -> None:
    files = edited(
        ALL_IN_ARCHIVE.files, "src/unrelated.c", "int unrelated",
        "int other(int n) { return n; }\nint unrelated",
    )  # fmt: skip
    lower = (ASSERTING % 4).replace("int one", "\n\nint one")
    old = {**files, "src/greet.c": files["src/greet.c"] + ASSERTING % 3}
    new = {**files, "src/greet.c": files["src/greet.c"] + lower}
    with built(tmp_path, Project(old, ALL_IN_ARCHIVE.command, "lib.so"), new) as pair:
        changes = judge(pair, JudgeOptions())
        (unit,) = pair.units
        assert unit.new is not None and unit.new.line_counted is not None
    assert [f.name for f in changes.functions] == ["one"]
    assert {"two", "three"} <= set(changes.dropped)
