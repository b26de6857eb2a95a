"""One run of a program, held before its main and at its end by our preloaded library. A program
that nothing can be preloaded into is stopped at its first instruction, and not held at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.corpus import inside_tools
from scripts.corpus.live_root import SCRATCH, Captured, Finished, LiveRoot, ended
from scripts.corpus.package_data import Run
from scripts.corpus.processes import children

_STOPPED = f"{inside_tools.PLACE}/stopped"
HOLD = f"{inside_tools.PLACE}/hold.so"
Moment = Literal["begin", "end"]
_STEP = 0.005


@dataclass
class Held:
    _first: int  # the program, or the one that stopped it
    _process: subprocess.Popen[bytes]
    _directory: Path
    _files: Captured
    _stopped: bool

    @property
    def pid(self) -> int:
        return children(self._first)[0] if self._stopped else self._first

    def reaches(self, moment: Moment, seconds: float) -> bool:
        """False: it ended before that, or it still runs."""
        mark = self._directory / f"{moment}.held"
        wait_until(lambda: mark.exists() or self.ended, seconds)
        return mark.exists() and not self.ended

    def release(self, moment: Moment) -> None:
        if self._stopped:
            os.kill(self.pid, signal.SIGCONT)
            return
        descriptor = os.open(self._directory / moment, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"x")
        finally:
            # The reader has its own end of the FIFO open: the byte stays there for it.
            os.close(descriptor)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self, seconds: float) -> Finished:
        try:
            status: int | None = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        return self._files.finished(status)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True


@contextmanager
def held(
    root: LiveRoot, run: Run, *, preload: str = HOLD, cwd: str = "", stopped: bool = False
) -> Iterator[Held]:
    directory, inside = root.fresh_directory("hold")
    for moment in ("begin", "end"):
        os.mkfifo(directory / moment)
        (directory / moment).chmod(0o666)
    variables = {**run.environment, "NAHT_HOLD": inside}
    if not stopped:
        variables["LD_PRELOAD"] = preload
    first = [_STOPPED] if stopped else []
    with Captured(root.outside, run.input.encode()) as files:
        process = root.start(
            [*first, f"/{run.program}", *run.arguments], stdin=files.given, stdout=files.output,
            stderr=files.errors, environment=variables, cwd=cwd or SCRATCH,
        )  # fmt: skip
        with ended(process):
            yield Held(root.host_pid(process), process, directory, files, stopped)


def run_free(root: LiveRoot, run: Run, *, seconds: float, cwd: str = "") -> Finished:
    """The same run, with nobody watching."""
    prepare(root, run.prepare)
    return root.run(
        [f"/{run.program}", *run.arguments], seconds=seconds, given=run.input.encode(),
        environment=run.environment, cwd=cwd or SCRATCH,
    )  # fmt: skip


def prepare(root: LiveRoot, commands: Iterable[tuple[str, ...]]) -> None:
    root.clear_scratch()
    for command in commands:
        root.run(command)
