"""Runs cases in worker processes, several packages side by side, each case within its time. What a
case started is ended with it; what it found is saved at once. A package that another run has in
work is left to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from scripts.corpus.cases import Case
from scripts.corpus.results import CaseResult, Store, Trouble
from scripts.corpus.worker import Request

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Limits:
    build_seconds: float  # of one package
    case_seconds: float  # of one case whose package is built
    run_seconds: float | None


@dataclass
class Run:
    store: Store
    scratch: Path
    limits: Limits
    request: Callable[[Case, Path, bool], Request]
    tell: Callable[[Case, CaseResult], None]
    keep: bool = False
    authored: Callable[[Case], bool] = lambda _: False  # then two sides are built, not one
    _began: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def all(self, packages: Sequence[tuple[Case, ...]], jobs: int) -> None:
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(self._package, cases) for cases in packages]
            try:
                for future in waiting:
                    future.result()
            except KeyboardInterrupt:
                self._stop.set()
                for process in list(self._running):
                    _end_group(process)
                raise

    def _package(self, cases: Sequence[Case]) -> None:
        with locked(self.scratch / f".{cases[0].package}.lock") as is_mine:
            if is_mine and not self._over():
                self._cases(cases)

    def _cases(self, cases: Sequence[Case]) -> None:
        built = self._worker(cases[0], self.limits.build_seconds, only_build=True)
        for case in cases:
            if self._over():
                return
            if built.trouble:
                result = CaseResult.of(case)
                result.trouble, result.finished = built.trouble, built.finished
            else:
                seconds = self.limits.case_seconds * (1 + self.authored(case))
                result = self._worker(case, seconds, only_build=False)
                result.seconds = {**result.seconds, **_longer(built.seconds, result.seconds)}
            if self._stop.is_set():
                return  # it was ended, it did not fail
            self.store.save(case, result)
            self.tell(case, result)

    def _over(self) -> bool:
        spent = time.monotonic() - self._began
        limit = self.limits.run_seconds
        return self._stop.is_set() or (limit is not None and spent > limit)

    def _worker(self, case: Case, seconds: float, *, only_build: bool) -> CaseResult:
        scratch = self.scratch / case.key.replace("/", "%")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        asked = scratch / "request.json"
        asked.write_bytes(msgspec.json.encode(self.request(case, scratch, only_build)))
        status = self._run_worker(asked, scratch / "log", seconds)
        answer = scratch / "result.json"
        if answer.is_file():
            result = msgspec.json.decode(answer.read_bytes(), type=CaseResult)
        else:
            result = _without_answer(case, status, seconds, scratch / "log")
        if not self.keep:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(scratch / "change/change.log", scratch / "change.log")
            for name in ("change", "trees", "live"):
                shutil.rmtree(scratch / name, ignore_errors=True)
        return result

    def _run_worker(self, asked: Path, log: Path, seconds: float) -> int | None:
        """None: its time was up. Namespaces and all in them end with the group's `unshare`."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.corpus.worker", str(asked)],
                cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        self._running.add(process)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(process)
            self._running.discard(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """False: another run has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _without_answer(case: Case, status: int | None, seconds: float, log: Path) -> CaseResult:
    result = CaseResult.of(case)
    said = log.read_text(errors="replace")[-1500:]
    if status is None:
        result.trouble = Trouble("time", "Timeout", f"It took over {seconds:.0f} s. {said}")
    else:
        result.trouble = Trouble("worker", "Died", f"The worker ended with {status}. {said}")
    return result


def _longer(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {k: max(v, second.get(k, 0.0)) for k, v in first.items()}
