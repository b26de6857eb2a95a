"""One run of a program, held before its main and at its end by our preloaded library."""

from __future__ import annotations

import os
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

HOLD = f"{inside_tools.PLACE}/hold.so"
Moment = Literal["begin", "end"]
_STEP = 0.005


@dataclass
class Held:
    pid: int
    _process: subprocess.Popen[bytes]
    _directory: Path
    _files: Captured

    def reaches(self, moment: Moment, seconds: float) -> bool:
        """False: it ended before that, or it still runs."""
        mark = self._directory / f"{moment}.held"
        wait_until(lambda: mark.exists() or self.ended, seconds)
        return mark.exists() and not self.ended

    def release(self, moment: Moment) -> None:
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
    root: LiveRoot, run: Run, *, environment: dict[str, str] | None = None, preload: str = HOLD,
    cwd: str = "",
) -> Iterator[Held]:  # fmt: skip
    directory, inside = root.fresh_directory("hold")
    for moment in ("begin", "end"):
        os.mkfifo(directory / moment)
        (directory / moment).chmod(0o666)
    variables = {
        **run.environment, **(environment or {}), "LD_PRELOAD": preload, "NAHT_HOLD": inside,
    }  # fmt: skip
    with Captured(root.outside, run.input.encode()) as files:
        process = root.start(
            [f"/{run.program}", *run.arguments], stdin=files.given, stdout=files.output,
            stderr=files.errors, environment=variables, cwd=cwd or SCRATCH,
        )  # fmt: skip
        with ended(process):
            yield Held(root.host_pid(process), process, directory, files)


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
