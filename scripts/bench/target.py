"""The processes that are measured: building them, starting them, reading what they saw.

What a target sees is in a file that both sides map; nothing else passes between them, so that a
measurement needs no system call of the target.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SOURCES = Path(__file__).with_name("targets")
PAGE = mmap.PAGESIZE
Mode = Literal["beat", "spin", "sleep", "cost"]


class TargetError(Exception):
    """A target did not start, or did not live."""


class Slot(ctypes.Structure):
    """`struct slot` of targets/bench.h."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "ready", "reset", "longest_gap_ns", "longest_stop_ns", "changed_at_ns", "answer",
            "calls", "measure", "twin_ps", "answer_ps",
        )
    ]  # fmt: skip

    ready: int
    reset: int
    longest_gap_ns: int
    longest_stop_ns: int
    changed_at_ns: int
    answer: int
    calls: int
    measure: int
    twin_ps: int
    answer_ps: int


@dataclass(frozen=True)
class Trees:
    """Both states of the target's source, and the old one built."""

    old: Path
    new: Path

    @property
    def library(self) -> Path:
        return self.old / "libbench.so"


@dataclass
class Target:
    process: subprocess.Popen[bytes]
    slot: Slot

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def reset(self) -> None:
        """Forget the longest gap and the change; what the answer is now counts as the old one."""
        self.slot.reset = 1
        wait_until(lambda: self.slot.reset == 0, f"target {self.pid} to reset", self)

    def measure_cost(self, rounds: int) -> tuple[float, float]:
        """Nanoseconds per call of the twin and of the function that may be patched."""
        self.slot.measure = rounds
        wait_until(lambda: self.slot.measure == 0, f"target {self.pid} to measure", self, 60)
        return self.slot.twin_ps / 1000, self.slot.answer_ps / 1000


def build_trees(work: Path) -> Trees:
    trees = Trees(work / "old", work / "new")
    for tree in (trees.old, trees.new):
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(SOURCES, tree)
    source = trees.new / "bench.c"
    fixed = source.read_text().replace("#define BENCH_RESULT 1", "#define BENCH_RESULT 2")
    source.write_text(fixed)
    for tree in (trees.old, trees.new):
        subprocess.run(["make", "-s"], cwd=tree, check=True, timeout=60)
    return trees


@contextmanager
def running(
    trees: Trees, mode: Mode, threads: int = 1, processes: int = 1
) -> Iterator[list[Target]]:
    """Starts targets that run the old library; they end with the block, or with us."""
    with shared_slots(trees.old / f"slots.{os.getpid()}", processes) as (file, slots):
        targets: list[Target] = []
        try:
            for index in range(processes):
                targets.append(_start(trees, file, index, mode, threads, slots[index]))
            for target in targets:
                wait_until(lambda: target.slot.ready == 1, "a target to start", target)  # noqa: B023
            yield targets
        finally:
            stop(targets)


@contextmanager
def shared_slots(file: Path, count: int) -> Iterator[tuple[Path, list[Slot]]]:
    size = -(-count * ctypes.sizeof(Slot) // PAGE) * PAGE
    file.write_bytes(bytes(size))
    try:
        with file.open("r+b") as both:
            # Not closed by hand: slots that point into it may still be held by the caller.
            shared = mmap.mmap(both.fileno(), size)
        yield file, list((Slot * count).from_buffer(shared))
    finally:
        file.unlink()


def _start(trees: Trees, file: Path, index: int, mode: Mode, threads: int, slot: Slot) -> Target:
    command = [str(trees.old / "target"), str(file), str(index), mode, str(threads)]
    return Target(subprocess.Popen(command, stdin=subprocess.DEVNULL), slot)


def stop(targets: Sequence[Target]) -> None:
    for target in targets:
        target.process.kill()
    for target in targets:
        target.process.wait()


def wait_until(
    condition: Callable[[], bool], what: str, target: Target, seconds: float = 20.0
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if not target.is_alive():
            raise TargetError(f"target {target.pid} died with {target.process.returncode}")
        if time.monotonic() > deadline:
            raise TargetError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.0005)


@dataclass(frozen=True)
class Memory:
    mapped: int  # bytes of address space
    private: int  # bytes of private memory in RAM


def memory_of(pid: int) -> Memory:
    mapped = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
        mapped += end - start
    return Memory(mapped, _private_bytes(pid))


def _private_bytes(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {row.split(":")[0]: int(row.split()[1]) * 1024 for row in rows}
    return fields["Private_Clean"] + fields["Private_Dirty"]
