"""A program of the package, patched before its first instruction of main and looked at again at its
end: it must do what an unpatched program of the new build does."""

from __future__ import annotations

import time

from naht.errors import NahtError
from scripts.corpus.held import HOLD, Held, held, prepare, run_free
from scripts.corpus.live_root import Finished, NotSeenError
from scripts.corpus.package_data import Run
from scripts.corpus.processes import Snapshot, map_object
from scripts.corpus.results import Check, CheckKind, Proof
from scripts.corpus.target import Target

_TO_START = 30.0
_TO_END = 6.0  # longer ones are patched and reverted while they run
_AFTER_END = 5.0


def check_program(
    target: Target, run: Run, *, kind: CheckKind = "program", preload: str = HOLD, cwd: str = ""
) -> Check:
    check = Check(kind, run.name)
    began = time.monotonic()
    prepare(target.old, run.prepare)
    try:
        with held(target.old, run, preload=preload, cwd=cwd) as process:
            if not process.reaches("begin", _TO_START):
                said = process.finish(0).errors.decode(errors="replace")
                return _unused(check, f"it can't be held: {said[-200:]}")
            if not map_object(process.pid, target.build_id):
                return _unused(check, "the object is not mapped")
            finished = _patched_run(target, process, check)
    except NotSeenError:
        return _unused(check, "it ended at once, without being held")
    finally:
        target.old.end_all()
    if check.outcome == "live":
        _compare(target, run, finished, check, cwd)
    if check.problems:
        check.outcome = "failed"
    check.seconds = time.monotonic() - began
    return check


def _unused(check: Check, why: str) -> Check:
    check.outcome = "unused"
    check.notes.append(why)
    return check


def _patched_run(target: Target, process: Held, check: Check) -> Finished:
    naht = target.naht
    before = Snapshot.of(process.pid, target.build_id)
    hotpatch = naht.apply([process.pid], check)
    if not hotpatch or before is None:
        return process.finish(0)
    naht.check_active(hotpatch, [process.pid], check)
    process.release("begin")
    at_end = process.reaches("end", _TO_END)
    if process.ended:
        check.notes.append("it ended where it can't be held: reverting was not tried")
    else:
        _revert(target, process, before, hotpatch, check, at_end=at_end)
    if not at_end:
        return process.finish(0)
    process.release("end")
    return process.finish(_AFTER_END)


def _revert(
    target: Target, process: Held, before: Snapshot, hotpatch: str, check: Check, *, at_end: bool
) -> None:
    naht = target.naht
    try:
        naht.check_active(hotpatch, [process.pid], check)
        naht.revert(hotpatch, [process.pid], check)
        kept = any("not given back" in note for note in check.notes)
        naht.compare(before, process.pid, check, quiet=False, kept=kept)
    except (OSError, NahtError) as error:
        if not process.ended:
            raise
        check.notes.append(f"it ended while it was looked at: {error}")
    if not at_end:
        check.notes.append(f"it still ran after {_TO_END:.0f} s, and was reverted then")


def _compare(target: Target, run: Run, patched: Finished, check: Check, cwd: str) -> None:
    new = run_free(target.new, run, seconds=_TO_END, cwd=cwd)
    if new.status is None or patched.status is None:
        if new.status is not None or (patched.status or 0) < 0:
            check.problems.append(f"ended with {patched.status}, the new build with {new.status}")
        return
    if patched.status != new.status:
        check.problems.append(f"ended with {patched.status}, the new build with {new.status}")
    if not run.ignore_output and _said(patched) != _said(new) and _is_stable(target, run, new, cwd):
        check.problems.append(f"said {_text(patched)!r} where the new build says {_text(new)!r}")
    if run.proves:
        old = _text(run_free(target.old, run, seconds=_TO_END, cwd=cwd))
        check.proof = Proof(run.name, old, _text(patched), old, _text(new))
        if not check.proof.closed:
            check.problems.append(f"the proof shows nothing: {check.proof}")


def _is_stable(target: Target, run: Run, first: Finished, cwd: str) -> bool:
    """Output that differs between two unpatched runs (times, addresses) says nothing."""
    return _said(run_free(target.new, run, seconds=_TO_END, cwd=cwd)) == _said(first)


def _said(finished: Finished) -> tuple[bytes, bytes]:
    return finished.output, finished.errors


def _text(finished: Finished) -> str:
    said = (finished.output + finished.errors).decode(errors="replace")
    return f"status {finished.status}: {said[:300]}".strip()
