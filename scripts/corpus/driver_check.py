"""A library (or plug-in), patched in a program whose threads call it, or at least run beside it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.corpus import inside_tools
from scripts.corpus.held import wait_until
from scripts.corpus.live_root import Captured, LiveRoot, NotSeenError, ended
from scripts.corpus.package_data import LibraryDriver
from scripts.corpus.processes import Snapshot
from scripts.corpus.results import Check, Proof
from scripts.corpus.target import Target

_TO_START = 20.0
_TO_ADVANCE = 20.0
_TO_ANSWER = 20.0
_LOADER = f"{inside_tools.PLACE}/loader"


class DriverTroubleError(Exception):
    pass


@dataclass
class Driver:
    """A running driver, spoken to by lines."""

    pid: int
    _process: subprocess.Popen[bytes]
    _files: Captured
    _heard: int = 0

    def hear(self) -> str:
        lines: list[str] = []

        def something() -> bool:
            lines[:] = self._lines()[self._heard :]
            return bool(lines) or self._process.poll() is not None

        if not wait_until(something, _TO_ANSWER):
            raise DriverTroubleError("the driver does not answer: its threads hang")
        if not lines and not (lines := self._lines()[self._heard :]):
            raise DriverTroubleError(f"the driver ended: {self._end()}")
        self._heard += 1
        return lines[0]

    def ask(self, question: str) -> str:
        assert self._process.stdin
        try:
            self._process.stdin.write(question.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise DriverTroubleError(f"the driver ended: {self._end()}") from error
        return self.hear()

    def prove(self) -> str:
        return self.ask("prove").removeprefix("proof: ")

    def advances(self) -> None:
        """Every thread has begun and ended a round since this was called."""
        first = self._rounds()
        if not wait_until(
            lambda: all(n >= f + 2 for n, f in zip(self._rounds(), first, strict=True)),
            _TO_ADVANCE,
        ):
            raise DriverTroubleError("its threads do not go on")

    def _rounds(self) -> list[int]:
        answer = self.ask("progress")
        if not answer.startswith("rounds:"):
            raise DriverTroubleError(f"the driver says: {answer}")
        return [int(word) for word in answer.split()[1:]]

    def _lines(self) -> list[str]:
        whole, _, _ = self._files.finished(None).output.rpartition(b"\n")
        return whole.decode(errors="replace").split("\n") if whole else []

    def _end(self) -> str:
        said = self._files.finished(None).errors.decode(errors="replace").strip()[-300:]
        return f"status {self._process.wait()}. {said}"


@contextmanager
def _driver(root: LiveRoot, command: Sequence[str]) -> Iterator[Driver]:
    root.clear_scratch()
    with Captured(root.outside) as files:
        process = root.start(
            command, stdin=subprocess.PIPE, stdout=files.output, stderr=files.errors
        )
        with ended(process):
            try:
                driver = Driver(root.host_pid(process), process, files)
                first = driver.hear()
            except (DriverTroubleError, NotSeenError) as error:
                said = files.finished(None)
                text = (said.output + said.errors).decode(errors="replace").strip()[-300:]
                raise DriverTroubleError(f"not started: {error} {text}") from error
            if first != "ready":
                raise DriverTroubleError(f"not started: {first}")
            yield driver


def check_loaded(target: Target) -> Check:
    """With nobody calling it: all that can be done without knowing the library."""
    check = _check(target, [_LOADER, f"/{target.path}"], "loaded beside running threads", False)
    if any(p.startswith("not started:") for p in check.problems):
        # A plug-in that needs the program it belongs to.
        check.outcome, check.notes, check.problems = "unused", [*check.problems], []
    return check


def check_driver(target: Target, driver: LibraryDriver) -> Check:
    trouble = _compile(target, driver)
    if trouble:
        return Check("driver", driver.name, "failed", [f"it does not compile: {trouble[-1500:]}"])
    inside = f"/corpus/shared/{_compiled_name(driver)}"
    return _check(target, [inside], driver.name, bool(driver.proves))


def _check(target: Target, command: Sequence[str], name: str, proof: bool) -> Check:
    check = Check("driver", name)
    began = time.monotonic()
    try:
        old = _patch_and_revert(target, command, check, proof)
        if proof and check.outcome == "live" and not check.problems:
            with _driver(target.new, command) as driver:
                check.proof = Proof(name, *old, driver.prove())
            if not check.proof.closed:
                check.problems.append(f"the proof shows nothing: {check.proof}")
    except DriverTroubleError as error:
        check.problems.append(str(error))
    if check.problems:
        check.outcome = "failed"
    check.seconds = time.monotonic() - began
    return check


def _patch_and_revert(
    target: Target, command: Sequence[str], check: Check, proof: bool
) -> tuple[str, str, str]:
    """What was observed in the old build, patched, and reverted."""
    naht = target.naht
    seen: list[str] = []
    with _driver(target.old, command) as driver:
        before = Snapshot.of(driver.pid, target.build_id)
        if before is None:
            check.outcome = "unused"
            check.notes.append("the object is not mapped")
            return ("", "", "")
        driver.advances()
        seen.append(driver.prove() if proof else "")
        if hotpatch := naht.apply([driver.pid], check):
            naht.check_active(hotpatch, [driver.pid], check)
            driver.advances()
            seen.append(driver.prove() if proof else "")
            naht.revert(hotpatch, [driver.pid], check)
            driver.advances()
            seen.append(driver.prove() if proof else "")
            kept = any("not given back" in note for note in check.notes)
            naht.compare(before, driver.pid, check, quiet=command[0] == _LOADER, kept=kept)
    old, patched, reverted, *_ = *seen, "", "", ""
    return old, patched, reverted


def _compiled_name(driver: LibraryDriver) -> str:
    digest = hashlib.sha256(driver.source.read_bytes())
    return f"driver-{driver.name}-{digest.hexdigest()[:12]}"


def _compile(target: Target, driver: LibraryDriver) -> str:
    """Against the old build's headers; the compiled program is kept for the next patch. What the
    compiler said, if it failed."""
    name = _compiled_name(driver)
    kept = target.compiled / name
    shared = target.old.outside / "shared" / name
    if not kept.is_file():
        done = target.old.run(
            ["gcc", "-std=gnu11", "-O1", "-g", f"-I{inside_tools.PLACE}",
             "-o", f"/corpus/shared/{name}", f"/corpus/data/{driver.source.name}",
             f"{inside_tools.PLACE}/driver.o", *driver.link, "-ldl", "-lpthread"],
        )  # fmt: skip
        if done.status != 0:
            return (done.output + done.errors).decode(errors="replace")
        shutil.copy2(shared, kept)
    for root in (target.old, target.new):
        place = root.outside / "shared" / name
        if not place.exists():
            shutil.copy2(kept, place)
    return ""
