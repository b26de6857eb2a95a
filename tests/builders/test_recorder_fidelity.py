"""A recorded build makes the very files that the same build makes unrecorded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from naht.build.native.recording import Invocation
from naht.build.native.running_build import run_build
from naht.build.native.toolchain import Recorder, install_recorder
from tests.builders.small_projects import (
    BUILD_SYSTEMS,
    CPLUSPLUS,
    PLAIN_MAKE,
    Project,
    edited,
    write_project,
)

pytestmark = pytest.mark.compiler

_MAGIC = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n")


def with_flags(project: Project, old: str, new: str) -> Project:
    return Project(edited(project.files, "Makefile", old, new), project.command, project.object)


PROJECTS = {
    **{name: BUILD_SYSTEMS[name] for name in ("make", "one-command", "cmake", "clang")},
    "c++": CPLUSPLUS,
    "flags in the object": with_flags(PLAIN_MAKE, "-O2 -g", "-O2 -g3 -frecord-gcc-switches"),
    "clang, flags in the object": Project(
        edited(PLAIN_MAKE.files, "Makefile", "-O2 -g", "-O2 -g -grecord-command-line"),
        "make -j2 CC=clang", PLAIN_MAKE.object,
    ),
    "lto": with_flags(PLAIN_MAKE, "-O2 -g", "-O2 -g -frandom-seed=1 -flto -ffat-lto-objects"),
    "own map and dependencies": with_flags(
        PLAIN_MAKE, "-shared", "-MMD -MF src/kept.d -Wl,-Map,kept.map -shared"
    ),
}  # fmt: skip


def recorder_in(folder: Path) -> Recorder:
    return install_recorder(folder / "recorder", os.environ["PATH"])


def products(tree: Path) -> dict[str, bytes]:
    contents = {p: p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}
    return {str(p.relative_to(tree)): c for p, c in contents.items() if c.startswith(_MAGIC)}


def record(recorder: Recorder, tree: Path, command: str) -> tuple[Invocation, ...]:
    return run_build(recorder, command, tree, "old", lambda _: None)


@pytest.mark.parametrize("name", PROJECTS)
def test_products_are_byte_identical(tmp_path: Path, name: str) -> None:
    project, tree = PROJECTS[name], tmp_path / "tree"
    recorder = recorder_in(tmp_path)
    write_project(tree, project.files)
    unrecorded = {**recorder.environment(os.environ), "PATH": os.environ["PATH"]}
    subprocess.run(
        ["sh", "-c", project.command], cwd=tree, env=unrecorded, check=True, capture_output=True
    )
    plain = products(tree)
    shutil.rmtree(tree)
    write_project(tree, project.files)
    record(recorder, tree, project.command)
    assert len(plain) >= 1
    assert products(tree) == plain


def test_exit_status_and_output_pass_through(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    tree = write_project(tmp_path / "tree", {"bad.c": "int main(void) { return x; }\n"})
    environment = recorder.environment(os.environ)
    real, stand_in = (
        subprocess.run(
            ["gcc", "-c", "bad.c"], cwd=tree, env=env, capture_output=True, check=False
        )
        for env in ({**environment, "PATH": os.environ["PATH"]}, environment)
    )  # fmt: skip
    assert real.returncode == stand_in.returncode == 1
    assert real.stderr == stand_in.stderr
    assert b"undeclared" in stand_in.stderr
    link = ["ld", "--version"]
    asked = subprocess.run(link, env=environment, capture_output=True, check=True)
    assert asked.stdout == subprocess.run(link, capture_output=True, check=True).stdout


def test_a_build_that_scrubs_its_environment_is_recorded(tmp_path: Path) -> None:
    tree = write_project(tmp_path / "tree", {"a.c": "int a;\n"})
    records = record(recorder_in(tmp_path), tree, 'env -i PATH="$PATH" gcc -c a.c -o a.o')
    assert [r.arguments for r in records] == [("-c", "a.c", "-o", "a.o")]
    assert records[0].outputs[0].path == tree / "a.o"
    assert records[0].outputs[0].copy.read_bytes() == (tree / "a.o").read_bytes()


def test_records_tell_what_the_build_deleted_since(tmp_path: Path) -> None:
    tree = write_project(
        tmp_path / "tree",
        {"a.c": "int main(void) { return 0; }\n", "flags": "-O2 -DX='\"a b\"'\n"},
    )
    records = record(
        recorder_in(tmp_path), tree,
        "gcc @flags -MD -MF a.d -c a.c && rm flags a.d && gcc a.o -o prog && rm a.o && strip prog",
    )  # fmt: skip
    compiling, linking, linker = records
    assert compiling.responses[0].copy.read_bytes() == b"-O2 -DX='\"a b\"'\n"
    assert compiling.dependencies is not None
    assert b"a.c" in compiling.dependencies.read_bytes()
    assert linker.parent == linking.id
    assert [kept.path for kept in linker.inputs] == [tree / "a.o"]
    assert linker.outputs[0].path == tree / "prog"
    assert len(linker.outputs[0].copy.read_bytes()) > len((tree / "prog").read_bytes())
    assert linker.map is not None
    assert b"LOAD a.o" in linker.map.read_bytes()
