"""A library as distributions ship it (compiled, stripped, packaged), and a recorded build of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.shipped import Shipped, read_shipped
from naht.build.native.recording import Invocation
from naht.build.native.running_build import run_build
from naht.build.native.toolchain import install_recorder
from tests.builders.small_packages import member, write_deb

FLAGS = "-O2 -g -fPIC -ffile-prefix-map=$PWD=."
COMMAND = f"gcc {FLAGS} -c a.c && gcc {FLAGS} -c b.c && gcc -shared -o libx.so a.o b.o"
PATH = "usr/lib/libx.so"

A = """
int printf(const char *, ...);
static int count;
int first(int n) { count += n; return printf("first %d\\n", count); }
int second(int n) { count -= n; return printf("second %d\\n", count) + 7; }
"""
B = """
extern int first(int);
const char *names[] = {"one", "two"};
int numbers[] = {1, 2};
int third(int n) { return first(n) * 3; }
"""


@dataclass(frozen=True)
class Recorded:
    tree: Path
    records: tuple[Invocation, ...]


def build(folder: Path, sources: dict[str, str], command: str = COMMAND) -> Recorded:
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name, text in sources.items():
        (tree / name).write_text(text)
    recorder = install_recorder(folder / "recorder", os.environ["PATH"])
    return Recorded(tree, run_build(recorder, command, tree, "old", lambda _: None))


def package(folder: Path, files: dict[str, Path], name: str = "small.deb") -> Shipped:
    """Stripped, as debhelper does it."""
    folder.mkdir(parents=True, exist_ok=True)
    members = []
    for path, file in files.items():
        copy = folder / "stripped"
        subprocess.run(["strip", "-o", copy, file], check=True)
        members.append(member(f"./{path}", copy.read_bytes(), 0o755))
    return read_shipped([write_deb(folder / name, members)], folder / "into")
