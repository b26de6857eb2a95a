"""Small C programs, compiled on the spot and run as live processes that say what they know."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from naht.errors import TargetGoneError
from naht.live.native import procfs

PATIENCE = 60.0

PRELUDE = """\
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void say(unsigned long long value) { printf("%llu\\n", value); fflush(stdout); }
static void ready(void) { puts("ready"); fflush(stdout); }
static void wait_for_end(void) { char byte; while (read(0, &byte, 1) > 0) { } }
"""


def compile_program(
    where: Path, name: str, source: str, *flags: str, compiler: str = "gcc"
) -> Path:
    """Compiles and links `source` after PRELUDE; flags go last, so that libraries may be named."""
    suffix = ".cc" if compiler in ("g++", "clang++") else ".c"
    code, result = where / (name + suffix), where / name
    # A build-id of its own, so that no other run's processes are found in its place.
    mark = f'static const char mark[] __attribute__((used)) = "{uuid.uuid4()}";\n'
    code.write_text(PRELUDE + mark + source)
    command = [compiler, "-g0", "-O1", "-w", "-Wl,--build-id", "-o", str(result), str(code), *flags]
    subprocess.run(command, check=True)
    return result


def compile_library(
    where: Path, name: str, source: str, *flags: str, compiler: str = "gcc"
) -> Path:
    return compile_program(
        where, name, source, "-shared", "-fPIC", f"-Wl,-soname,{name}", *flags, compiler=compiler
    )


class Program:
    """A live process with its standard input and output."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self._heard = b""

    def line(self) -> str:
        assert self.process.stdout
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, f"process {self.pid} says nothing"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"process {self.pid} ended with {self.process.wait()}"
            self._heard += data
        first, _, self._heard = self._heard.partition(b"\n")
        return first.decode()

    def number(self) -> int:
        return int(self.line())

    def numbers_until_ready(self) -> list[int]:
        found = []
        while (line := self.line()) != "ready":
            found.append(int(line))
        return found

    def send(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self) -> None:
        with suppress(OSError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@contextmanager
def running(command: Sequence[str | Path], **environment: str) -> Iterator[Program]:
    """Runs the command; it ends with the block, whatever state it is in."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    program = Program(process)
    try:
        yield program
    finally:
        program.end()


def wait_until(condition: Callable[[], bool]) -> None:
    """For what the kernel does a moment after it was asked to."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)


def build_id_of(path: Path) -> str:
    notes = subprocess.run(["readelf", "-n", str(path)], check=True, capture_output=True, text=True)
    return next(
        line.split()[-1]
        for line in notes.stdout.splitlines()
        if line.strip().startswith("Build ID")
    )


def a_kernel_thread() -> int:
    for pid in sorted(procfs.list_pids()):
        with suppress(TargetGoneError):
            if procfs.read_stat(pid).kernel_thread:
                return pid
    raise AssertionError("no kernel thread is visible: run these tests outside a pid namespace")
