"""One running target program, spoken to by lines, and what its /proc entries say."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Self

from tests.programs.cases import Case, Trees

ARENA_SIZE = 64 << 20  # HEAP_MAX_SIZE of glibc
PATIENCE = 60.0  # seconds until a target that says nothing counts as hung
_MAPS_LINE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+)\s*(.*)$")


def _is_arena(used: str, reserved: str) -> bool:
    """malloc takes 64 MiB, aligned, for a thread that first uses it, and opens some of them."""
    first, second = _MAPS_LINE.match(used), _MAPS_LINE.match(reserved)
    assert first and second
    anonymous = first[7] == second[7] == "" and first[6] == second[6] == "0"
    protections = first[3] == "rw-p" and second[3] == "---p"
    start, end = int(first[1], 16), int(second[2], 16)
    return anonymous and protections and start % ARENA_SIZE == 0 and end - start == ARENA_SIZE


class Target:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    def start(cls, command: list[str], **environment: str) -> Self:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        return cls(process)

    def ask(self, command: str) -> str:
        self.send(command)
        return self.hear()

    def send(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout
        # One line per question is outstanding at most, so the text layer buffers nothing ahead.
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, f"target {self.pid} does not answer"
        return self._process.stdout.readline().rstrip("\n")

    def quit(self) -> int:
        """Ends the target in its normal way and returns its exit status."""
        self.send("quit")
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def assert_beating(self) -> None:
        """The workers make progress, and none of them ever saw a broken invariant."""
        before = int(self.ask("beat"))
        deadline = time.monotonic() + PATIENCE
        while int(self.ask("beat")) <= before:
            assert time.monotonic() < deadline, "the workers stand still"
            time.sleep(0.001)
        assert self.ask("broken") == "0"

    def start_time(self) -> int:
        return start_time(self.pid)

    def threads(self) -> list[int]:
        return [int(entry.name) for entry in Path(f"/proc/{self.pid}/task").iterdir()]

    def assert_not_traced(self) -> None:
        for thread in self.threads():
            assert tracer_of(thread) == 0

    def maps(self) -> list[str]:
        return Path(f"/proc/{self.pid}/maps").read_text().splitlines()

    def stable_maps(self) -> list[str]:
        """The map without what a program changes by itself: heap, stack, malloc's thread arenas."""
        lines = self.maps()
        arenas = {line for pair in pairwise(lines) if _is_arena(*pair) for line in pair}
        return [
            line
            for line in lines
            if line not in arenas and not line.endswith(("[heap]", "[stack]"))
        ]

    def assert_never_writable_and_executable(self) -> None:
        assert not [line for line in self.maps() if re.match(r"^\S+ .wx", line)]

    def code_of(self, path: Path) -> bytes:
        """All executable bytes of one object as they are in memory."""
        wanted = path.stat().st_ino
        code = b""
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
            for line in self.maps():
                fields = _MAPS_LINE.match(line)
                assert fields
                if fields[3][2] == "x" and int(fields[6]) == wanted:
                    start, end = int(fields[1], 16), int(fields[2], 16)
                    code += os.pread(memory.fileno(), end - start, start)
        assert code
        return code


def tracer_of(thread: int) -> int:
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return 0  # it ended meanwhile
    return int(status.split("\nTracerPid:\t")[1].split("\n")[0])


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


@contextmanager
def running(
    trees: Trees,
    drivers: Path,
    *,
    tree: Path | None = None,
    workers: int | None = None,
    nap: int = 100,
) -> Iterator[Target]:
    """A target of this case, set up, running the `running` tree unless told another."""
    target = spawn(trees.case, tree or trees.running, drivers, workers=workers, nap=nap)
    try:
        yield target
    finally:
        target.end()


def spawn(
    case: Case, tree: Path, drivers: Path, *, workers: int | None = None, nap: int = 100
) -> Target:
    program = {
        "executable": tree / "target",
        "library": drivers / "linked",
        "dlopen": drivers / "dlopener",
    }[case.kind]
    count = case.workers if workers is None else workers
    target = Target.start(
        [str(program), str(count), str(nap)], LD_LIBRARY_PATH=str(tree), LC_ALL="C"
    )
    target.ask("beat")  # until then it may still be with the dynamic linker
    if case.kind == "dlopen" and not case.scenario:
        assert target.ask(f"load {tree / case.object_name}") == "ok"
    for command in case.setup:
        target.ask(command)
    return target


def assert_behaves(target: Target, case: Case, side: str) -> None:
    found = [(row.command, target.ask(row.command)) for row in case.expect]
    assert found == [(row.command, getattr(row, side)) for row in case.expect]
