"""The tools that are compared, each behind the same three calls, each run as a command.

naht and gdb's script change the functions and leave; Frida stays attached until the revert.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from naht.elf import constants
from naht.elf.file import ElfFile
from naht.hotpatch.container import read_hotpatch
from scripts.bench.target import Target, Trees

FUNCTIONS = ("bench_answer", "bench_spin")
JUMP_SIZE = 5
TIMEOUT = 60.0


class ToolFailedError(Exception):
    """The tool could not do it; the text says why."""


@dataclass(frozen=True)
class Work:
    """One apply or revert. `pause_ns` is what the tool itself reports, 0 where it does not."""

    wall_ns: int
    pause_ns: int = 0


class Tool(Protocol):
    name: str

    def apply(self, target: Target) -> Work: ...

    def revert(self, target: Target) -> Work: ...


@dataclass
class Naht:
    trees: Trees
    folder: Path
    name: str = "naht"
    program: Path = field(default_factory=lambda: Path(sys.executable).with_name("naht"))

    @property
    def hotpatch(self) -> Path:
        """All functions change together, so every stack is checked."""
        return self.folder / "bench.naht"

    @property
    def hot_hotpatch(self) -> Path:
        """Old and new may run side by side, as the builder judges by itself where it can."""
        return self.folder / "bench-hot.naht"

    def build(self) -> None:
        self._build("bench", "quiescent", self.hotpatch)
        self._build("bench-hot", "overlap", self.hot_hotpatch)

    def apply(self, target: Target) -> Work:
        return self._run(
            "apply", str(self.hotpatch), "--pid", str(target.pid), "--unsigned-dev", "--json"
        )

    def revert(self, target: Target) -> Work:
        return self._run("revert", "bench", "--pid", str(target.pid), "--json")

    def apply_all(self) -> Work:
        return self._run("apply", str(self.hotpatch), "--all", "--unsigned-dev", "--json")

    def start_up(self) -> Work:
        return Work(timed([str(self.program), "--version"])[1])

    def own_size(self) -> int:
        """Bytes of new code that the hotpatch itself brings."""
        manifest = read_hotpatch(self.hotpatch).manifest
        return sum(function.new_size for image in manifest.images for function in image.functions)

    def _build(self, name: str, consistency: str, output: Path) -> None:
        timed([
            str(self.program), "build", "native",
            "--old", str(self.trees.old), "--new", str(self.trees.new), "--command", "make -s",
            "--object", "libbench.so", "--running", str(self.trees.library), "--id", name,
            "--consistency", consistency, "-o", str(output),
        ])  # fmt: skip

    def _run(self, *words: str) -> Work:
        result, wall = timed([str(self.program), *words])
        return Work(wall, int(json.loads(result.stdout)["summary"]["longest_pause_ns"]))


@dataclass
class GdbScript:
    """What an administrator does by hand: attach, put code into a cave, jump to it, detach."""

    trees: Trees
    folder: Path
    name: str = "gdb script"

    def apply(self, target: Target) -> Work:
        return self._write(target, self._changes(target))

    def revert(self, target: Target) -> Work:
        old = _library(self.trees.old)
        bias = load_bias(target.pid, self.trees.library)
        symbols = _functions(old)
        return self._write(
            target,
            [
                (bias + symbols[name][0], old.read_address(symbols[name][0], JUMP_SIZE))
                for name in FUNCTIONS
            ],
        )

    def _changes(self, target: Target) -> list[tuple[int, bytes]]:
        """The new code goes behind the last byte of the library's code, into the page's rest."""
        old, new = _library(self.trees.old), _library(self.trees.new)
        bias = load_bias(target.pid, self.trees.library)
        code = next(
            s for s in old.segments if s.type == constants.PT_LOAD and s.flags & constants.PF_X
        )
        cave = (bias + code.address + code.memory_size + 63) & ~63
        bodies, jumps = [], []
        for name in FUNCTIONS:
            address, size = _functions(new)[name]
            entry = bias + _functions(old)[name][0]
            bodies.append((cave, new.read_address(address, size)))
            distance = cave - entry - JUMP_SIZE
            jumps.append((entry, b"\xe9" + distance.to_bytes(4, "little", signed=True)))
            cave += (size + 63) & ~63
        return bodies + jumps

    def _write(self, target: Target, changes: list[tuple[int, bytes]]) -> Work:
        script = self.folder / "patch.gdb"
        writes = [
            f"python gdb.selected_inferior().write_memory({address}, bytes.fromhex('{data.hex()}'))"
            for address, data in changes
        ]
        script.write_text("\n".join(["set pagination off", *writes, "detach", ""]))
        command = ["gdb", "-nx", "-batch", "-p", str(target.pid), "-x", str(script)]
        _, wall = timed(command)
        return Work(wall)


@dataclass
class Frida:
    trees: Trees
    folder: Path
    name: str = "Frida replaceFast"
    version: str = ""
    _clients: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def _python(self) -> Path:
        return self.folder / "frida-venv/bin/python"

    def install(self) -> None:
        """From PyPI into an environment of its own, kept for the next time."""
        if not self._python.exists():
            timed([sys.executable, "-m", "venv", str(self._python.parents[1])], 120)
        pip = [str(self._python), "-m", "pip", "-q", "--disable-pip-version-check"]
        timed([*pip, "install", "frida>=17"], 180)
        shown, _ = timed([str(self._python), "-c", "import frida; print(frida.__version__)"])
        self.version = shown.stdout.strip()
        shutil.copy2(self.trees.new / "libbench.so", self._fixed)

    @property
    def _fixed(self) -> Path:
        """Under another name, because the loader knows libraries by theirs."""
        return self.folder / "libbench-fixed.so"

    def apply(self, target: Target) -> Work:
        client_file = str(Path(__file__).with_name("frida_client.py"))
        began = time.monotonic_ns()
        client = subprocess.Popen(
            [str(self._python), client_file, str(target.pid), str(self._fixed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert client.stdout and client.stderr
        if client.stdout.readline() != "applied\n":
            raise ToolFailedError(client.communicate()[1][-400:])
        self._clients[target.pid] = client
        return Work(time.monotonic_ns() - began)

    def revert(self, target: Target) -> Work:
        client = self._clients.pop(target.pid)
        began = time.monotonic_ns()
        client.communicate("\n", timeout=TIMEOUT)
        return Work(time.monotonic_ns() - began)


def timed(
    command: list[str], timeout: float = TIMEOUT
) -> tuple[subprocess.CompletedProcess[str], int]:
    began = time.monotonic_ns()
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, env=_installed_environment(),
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ToolFailedError(str(error)) from error
    wall = time.monotonic_ns() - began
    if result.returncode != 0:
        words = " ".join(command)
        said = (result.stderr + result.stdout)[-800:]
        raise ToolFailedError(f"{words} ended with {result.returncode}: {said}")
    return result, wall


def _installed_environment() -> dict[str, str]:
    """An installed package has its byte code beside it; a developer's setting must not hide it."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def load_bias(pid: int, library: Path) -> int:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(f" {library}"):
            return int(line.split("-")[0], 16)
    raise ToolFailedError(f"{library} is not mapped in {pid}")


def _library(tree: Path) -> ElfFile:
    return ElfFile((tree / "libbench.so").read_bytes())


def _functions(elf: ElfFile) -> dict[str, tuple[int, int]]:
    return {s.name: (s.value, s.size) for s in elf.dynamic_symbols if s.name in FUNCTIONS}
