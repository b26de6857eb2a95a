"""Reads the case folders, lays out their trees and compiles them. Knows nothing of hotpatches.

A case is a folder: `case.toml`, `old.c` and `new.c` (or `.cc`), other sources that both trees
share, and `old/` and `new/` for files that differ otherwise. Each tree gets `common/`.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import naht.hotpatch
from naht.hotpatch.manifest import Consistency

PROGRAMS = Path(__file__).parent
COMMON = PROGRAMS / "common"
INCLUDE = Path(naht.hotpatch.__file__).parent / "include"

Kind = Literal["executable", "library", "dlopen"]


@dataclass(frozen=True)
class Expectation:
    command: str
    old: str
    new: str


@dataclass(frozen=True)
class Case:
    """One row of the table: a folder, or one variant of it."""

    name: str
    folder: Path
    about: str
    functions: tuple[str, ...] = ()
    new_functions: tuple[str, ...] = ()
    expect: tuple[Expectation, ...] = ()
    setup: tuple[str, ...] = ()  # commands, once, before anything else
    kind: Kind = "executable"
    compiler: Literal["gcc", "clang"] = "gcc"
    flags: str = "-O2"
    link: str = ""
    workers: int = 0
    refused: str = ""
    names: str = ""  # what the refusal's text must name
    consistency: Consistency | None = None
    allow: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    running: str = ""  # "stripped", "elsewhere", or a source to build it from
    scenario: bool = False  # driven by a test of its own
    endbr64: bool = False
    variants: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def object_name(self) -> str:
        return "target" if self.kind == "executable" else "libcase.so"


def read_case(folder: Path) -> Case:
    table = tomllib.loads((folder / "case.toml").read_text())
    table["expect"] = tuple(Expectation(*row) for row in table["expect"])
    table["variants"] = tuple(table.pop("variant", ()))
    tuples = {key: tuple(table[key]) for key in _LISTS if key in table}
    return Case(name=folder.name, folder=folder, **{**table, **tuples})


_LISTS = ("functions", "new_functions", "allow", "dropped", "setup")


def all_cases() -> list[Case]:
    return [
        variant
        for toml in sorted(PROGRAMS.glob("*/case.toml"))
        for variant in _variants(read_case(toml.parent))
    ]


def _variants(case: Case) -> list[Case]:
    return [
        replace(case, **{**row, "name": f"{case.name}[{row['name']}]", "variants": ()})
        for row in case.variants
    ] or [case]


def case_named(name: str) -> Case:
    return read_case(PROGRAMS / name)


def lay_tree(case: Case, side: str, where: Path) -> Path:
    """The sources of one side: "old", "new", or the stem of another source of the case."""
    where.mkdir(parents=True)
    mains = {path for path in case.folder.glob("*.c*") if _is_side(path)}
    shared = [path for path in case.folder.iterdir() if path.is_file() and path not in mains]
    own = case.folder / side
    for path in [*COMMON.iterdir(), *shared, *(own.iterdir() if own.is_dir() else ())]:
        if path.name != "case.toml":
            shutil.copy(path, where / path.name)
    for path in mains:
        if path.stem == side:
            shutil.copy(path, where / f"case{path.suffix}")
    (where / "config.mk").write_text(_config(case))
    return where


def _is_side(path: Path) -> bool:
    return path.stem in {"old", "new", "newer", "running"}


def _config(case: Case) -> str:
    cc, cxx = {"gcc": ("gcc", "g++"), "clang": ("clang", "clang++")}[case.compiler]
    return (
        f"KIND = {case.kind}\nCC = {cc}\nCXX = {cxx}\nFLAGS = {case.flags}\n"
        f"LINK = {case.link}\nPIC = {'' if case.kind == 'executable' else '-fPIC'}\n"
        f"NAHT_INCLUDE = {INCLUDE}\n"
    )


def compile_tree(tree: Path) -> None:
    subprocess.run(["make", "-s", "-C", str(tree)], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Trees:
    """`old` and `new` are sources for the builder; the others are built, and run."""

    case: Case
    old: Path
    new: Path
    built_new: Path
    running: Path

    @property
    def running_object(self) -> Path:
        return self.running / self.case.object_name


def prepare(case: Case, where: Path) -> Trees:
    old, new = (lay_tree(case, side, where / side) for side in ("old", "new"))
    running_side = case.running.removesuffix(".c") if case.running.endswith(".c") else "old"
    running = lay_tree(case, running_side, where / "elsewhere" / "running")
    built_new = lay_tree(case, "new", where / "elsewhere" / "new")
    for tree in (running, built_new):
        compile_tree(tree)
    if case.running == "stripped":
        subprocess.run(["strip", "--strip-all", str(running / case.object_name)], check=True)
    return Trees(case, old, new, built_new, running)


def build_drivers(where: Path) -> None:
    """`linked`, which takes its libcase.so from LD_LIBRARY_PATH, and `dlopener`."""
    where.mkdir(parents=True, exist_ok=True)
    stub = "long answer(long n) { return n; }\nconst char *text(long n) { return 0; }\n"
    stub += "long invariant(long n) { return n; }\nvoid on_thread_start(long n) {}\n"
    stub += "const char *extra(const char *c) { return c; }\n"
    (where / "stub.c").write_text(stub)
    driver, stub_library = str(COMMON / "driver.c"), str(where / "libcase.so")
    for command in (
        ["gcc", "-shared", "-fPIC", "-o", stub_library, "-Wl,-soname,libcase.so",
         str(where / "stub.c")],
        ["gcc", "-O1", "-o", str(where / "linked"), "-Wl,--no-as-needed",
         driver, stub_library, "-pthread"],
        ["gcc", "-O1", "-DDLOPEN", "-o", str(where / "dlopener"), driver, "-pthread"],
    ):  # fmt: skip
        subprocess.run(command, check=True)
