"""What can't be followed from source to linked object is refused, with cause and next step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from naht.build.native.pairing import build_pair
from naht.build.native.request import BuildRequest
from naht.errors import BuildRefusedError, ToolError, UsageError
from tests.builders.recorded import built, with_higher_limit
from tests.builders.small_projects import (
    PLAIN_MAKE,
    SOURCES,
    Project,
    edited,
    write_project,
)

pytestmark = pytest.mark.compiler


def changed_makefile(old: str, new: str) -> Project:
    files = edited(PLAIN_MAKE.files, "Makefile", old, new)
    return Project(files, PLAIN_MAKE.command, PLAIN_MAKE.object)


def script(text: str, **more: str) -> Project:
    """A build by a shell script of `src/unrelated.c` and what the text says."""
    return Project({**SOURCES, **more, "build.sh": f"set -e\n{text}\n"}, "sh build.sh", "lib.so")


def refusal(
    folder: Path, project: Project, new: Mapping[str, str] | None = None
) -> BuildRefusedError:
    changed = with_higher_limit(project) if new is None else new
    with pytest.raises(BuildRefusedError) as caught, built(folder, project, changed):
        pass
    return caught.value


def test_a_compiler_called_by_absolute_path(tmp_path: Path) -> None:
    project = Project(PLAIN_MAKE.files, "make CC=/usr/bin/gcc", PLAIN_MAKE.object)
    error = refusal(tmp_path, project)
    assert error.reason == "unrecorded-compiler"
    assert "by absolute path" in error.next_step


def test_one_object_compiled_past_the_recorder(tmp_path: Path) -> None:
    project = changed_makefile(
        "all: ", "src/greet.o: src/greet.c\n\t/usr/bin/gcc -Iinclude -fPIC -c -o $@ $<\nall: "
    )
    project = Project(project.files, "rm -f src/greet.o; make all", project.object)
    error = refusal(tmp_path, project)
    assert (error.reason, error.where) == ("unrecorded-compiler", "src/greet.o")


def test_a_build_that_does_not_rebuild(tmp_path: Path) -> None:
    project = script(
        "test -f greet.o || gcc -Iinclude -fPIC -c src/greet.c -o greet.o\n"
        "gcc -shared greet.o -o lib.so"
    )
    error = refusal(tmp_path, project)
    assert (error.reason, error.where) == ("not-rebuilt", "greet.o")
    assert "src/greet.c reads a changed file" in error.cause


@pytest.mark.parametrize("linker", ["gold", "lld"])
def test_another_linker(tmp_path: Path, linker: str) -> None:
    error = refusal(tmp_path, changed_makefile("-shared", f"-shared -fuse-ld={linker}"))
    assert error.reason == "linker"
    assert linker in error.cause
    assert "-fuse-ld=bfd" in error.next_step


def test_objects_hidden_in_a_relocatable_link(tmp_path: Path) -> None:
    project = script(
        "gcc -Iinclude -fPIC -c src/greet.c && gcc -fPIC -c src/unrelated.c\n"
        "ld -r greet.o unrelated.o -o all.o && gcc -shared all.o -o lib.so"
    )
    error = refusal(tmp_path, project)
    assert error.reason == "relocatable-link"
    assert "all.o" in error.cause


def test_an_object_that_is_altered_before_the_link(tmp_path: Path) -> None:
    project = script(
        "gcc -Iinclude -fPIC -c src/greet.c\n"
        "printf 'other' > other && objcopy --update-section .comment=other greet.o\n"
        "objcopy --add-section .extra=other --set-section-flags .extra=alloc greet.o\n"
        "gcc -shared greet.o -o lib.so"
    )
    error = refusal(tmp_path, project)
    assert error.reason == "altered-object"
    assert "greet.o" in error.cause


def test_a_header_that_is_overwritten_during_the_build(tmp_path: Path) -> None:
    project = script(
        "echo '#define FACTOR 2' > factor.h && gcc -I. -fPIC -c src/scaled.c\n"
        "echo '#define FACTOR 3' > factor.h && gcc -shared scaled.o -o lib.so",
        **{"src/scaled.c": '#include "factor.h"\nint scaled(int n) { return n * FACTOR; }\n'},
    )
    new = edited(project.files, "src/scaled.c", "n * FACTOR", "(n + 1) * FACTOR")
    error = refusal(tmp_path, project, new)
    assert error.reason == "unrepeatable-unit"
    assert "scaled.c" in error.cause


def test_equal_trees(tmp_path: Path) -> None:
    assert refusal(tmp_path, PLAIN_MAKE, PLAIN_MAKE.files).reason == "nothing-changed"


def test_an_object_that_no_link_made(tmp_path: Path) -> None:
    project = Project(PLAIN_MAKE.files, PLAIN_MAKE.command, "libother.so")
    error = refusal(tmp_path, project)
    assert error.reason == "no-link"
    assert "libgreet.so" in error.cause


def test_lto_without_debug_information(tmp_path: Path) -> None:
    project = changed_makefile("-O2 -g", "-O2 -flto")
    project = Project(
        edited(project.files, "Makefile", "ar rcs", "gcc-ar rcs"), project.command, project.object
    )
    error = refusal(tmp_path, project)
    assert error.reason == "lto-debug"
    assert "-g" in error.next_step


def test_lto_in_partitions(tmp_path: Path) -> None:
    files = edited(PLAIN_MAKE.files, "Makefile", "-O2 -g", "-O2 -g -flto -flto-partition=max")
    files = edited(files, "Makefile", "ar rcs", "gcc-ar rcs")
    files = edited(files, "Makefile", "$(CC) -shared", "$(CC) $(CFLAGS) -shared")
    error = refusal(tmp_path, Project(files, "make libgreet.so", PLAIN_MAKE.object))
    assert error.reason == "lto-partitions"


def test_clang_lto(tmp_path: Path) -> None:
    files = edited(PLAIN_MAKE.files, "Makefile", "-O2 -g", "-O2 -g -flto")
    files = edited(files, "Makefile", "ar rcs", "llvm-ar rcs")
    files = edited(files, "Makefile", "$(CC) -shared", "$(CC) $(CFLAGS) -shared")
    project = Project(files, "make CC=clang libgreet.so", PLAIN_MAKE.object)
    error = refusal(tmp_path, project)
    assert (error.reason, error.next_step) == ("clang-lto", "Build with -fno-lto.")


def test_a_failing_command_shows_its_end_and_names_its_log(tmp_path: Path) -> None:
    project = Project(PLAIN_MAKE.files, "echo begun; make nonsense", PLAIN_MAKE.object)
    with pytest.raises(ToolError) as caught, built(tmp_path, project, with_higher_limit(project)):
        pass
    assert "No rule to make target 'nonsense'" in caught.value.cause
    log = Path(caught.value.next_step.rsplit(" in ", 1)[1].rstrip("."))
    assert log.read_text().startswith("begun\n")


def test_a_build_that_works_outside_of_its_tree(tmp_path: Path) -> None:
    outside = write_project(tmp_path / "outside", SOURCES)
    project = script(f"cd {outside} && gcc -Iinclude -fPIC -shared src/greet.c -o $OLDPWD/lib.so")
    error = refusal(tmp_path, project)
    assert error.reason == "outside-tree"
    assert str(outside) in error.cause


def patch_request(folder: Path, patch: str) -> BuildRequest:
    old = write_project(folder / "old", PLAIN_MAKE.files)
    path = folder / "fix.patch"
    path.write_text(patch)
    return BuildRequest(old=old, patches=(path,), command="make", object="libgreet.so", id="t")


def refused_patch(folder: Path, patch: str) -> UsageError:
    request = patch_request(folder, patch)
    with pytest.raises(UsageError) as caught, build_pair(request, lambda _: None):
        pass
    return caught.value


def test_a_patch_that_does_not_apply_names_file_and_hunk(tmp_path: Path) -> None:
    hunk = "@@ -1,3 +1,3 @@\n \n-not there\n+there\n #include <stdio.h>\n"
    error = refused_patch(tmp_path, f"--- a/src/helper.c\n+++ b/src/helper.c\n{hunk}")
    assert "src/helper.c" in error.cause
    assert "Hunk #1 FAILED" in error.cause


def test_a_patch_for_another_source(tmp_path: Path) -> None:
    error = refused_patch(tmp_path, "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n")
    assert "b/x.c, which is not in" in error.cause


def test_a_patch_never_leaves_its_tree(tmp_path: Path) -> None:
    victim = tmp_path / "victim.c"
    victim.write_text("a\n")
    name = "../../../../victim.c"
    refused_patch(tmp_path, f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-a\n+b\n")
    assert victim.read_text() == "a\n"


def test_neither_or_both_of_new_tree_and_patches(tmp_path: Path) -> None:
    old = write_project(tmp_path / "old", PLAIN_MAKE.files)
    request = BuildRequest(old=old, command="make", object="libgreet.so", id="t")
    with pytest.raises(UsageError, match="new tree or patches"), build_pair(request, print):
        pass
