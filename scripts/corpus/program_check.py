"""A program of the package, patched before its first instruction of main and looked at again at its
end: it must do what an unpatched program of the new build does."""

from __future__ import annotations

import time
from functools import partial

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
    target: Target, run: Run, *, kind: CheckKind = "program", preload: str = HOLD, cwd: str = "",
    early: bool = False,
) -> Check:  # fmt: skip
    """`early`: reverted before main, too; then it must do what the old build does."""
    check = Check(kind, f"{run.name}{', reverted before main' if early else ''}")
    began = time.monotonic()
    prepare(target.old, run.prepare)
    stopped = target.kind == "static program"
    try:
        with held(target.old, run, preload=preload, cwd=cwd, stopped=stopped) as process:
            if not process.reaches("begin", _TO_START):
                said = process.finish(0).errors.decode(errors="replace")
                return _unused(check, f"it can't be held: {said[-200:]}")
            if not map_object(process.pid, target.build_id):
                return _unused(check, "the object is not mapped")
            finished = _patched_run(target, process, check, early)
    except NotSeenError:
        return _unused(check, "it ended at once, without being held")
    finally:
        target.old.end_all()
    if check.outcome == "live":
        _compare(target, run, finished, check, cwd, early)
    if check.problems:
        check.outcome = "failed"
    check.seconds = time.monotonic() - began
    return check


def _unused(check: Check, why: str) -> Check:
    check.outcome = "unused"
    check.notes.append(why)
    return check


def _patched_run(target: Target, process: Held, check: Check, early: bool) -> Finished:
    naht = target.naht
    before = Snapshot.of(process.pid, target.build_id)
    hotpatch = naht.apply([process.pid], check)
    if not hotpatch or before is None:
        return process.finish(0)
    naht.check_active(hotpatch, [process.pid], check)
    if early:
        _revert(target, process, before, hotpatch, check)
    process.release("begin")
    at_end = process.reaches("end", _TO_END)
    if process.ended and not early:
        check.notes.append("it ended where it can't be held: reverted in another run")
    elif not early:
        _revert(target, process, before, hotpatch, check, may_be_busy=True)
        if not at_end:
            check.notes.append(f"it still ran after {_TO_END:.0f} s, and was reverted then")
    if not at_end:
        return process.finish(0)
    process.release("end")
    return process.finish(_AFTER_END)


def _revert(
    target: Target, process: Held, before: Snapshot, hotpatch: str, check: Check,
    *, may_be_busy: bool = False,
) -> None:  # fmt: skip
    naht = target.naht
    try:
        naht.check_active(hotpatch, [process.pid], check)
        if not naht.revert(hotpatch, [process.pid], check, may_be_busy=may_be_busy):
            return
        kept = any("not given back" in note for note in check.notes)
        naht.compare(before, process.pid, check, quiet=False, kept=kept)
    except (OSError, NahtError) as error:
        if not process.ended:
            raise
        check.notes.append(f"it ended while it was looked at: {error}")


def _compare(
    target: Target, run: Run, patched: Finished, check: Check, cwd: str, early: bool
) -> None:
    root, which = (target.old, "old") if early else (target.new, "new")
    free = run_free(root, run, seconds=_TO_END, cwd=cwd)
    ended_alike = patched.status == free.status
    if free.status is None or patched.status is None:
        ended_alike = (patched.status or 0) >= 0  # one was slower; a crash is told all the same
    if not ended_alike:
        check.problems.append(
            f"ended with {patched.status}, the {which} build with {free.status}:"
            f" {_text(patched)!r}, {_text(free)!r}"
        )
    elif None not in (free.status, patched.status) and not run.ignore_output:
        again = partial(run_free, root, run, seconds=_TO_END, cwd=cwd)
        if _said(patched) != _said(free) and _said(again()) == _said(free):
            check.problems.append(
                f"said {_text(patched)!r} where the {which} build says {_text(free)!r}"
            )
    if run.proves and not early:
        _prove(target, run, patched, free, check, cwd)


def _prove(
    target: Target, run: Run, patched: Finished, new: Finished, check: Check, cwd: str
) -> None:
    old = _text(run_free(target.old, run, seconds=_TO_END, cwd=cwd))
    check.proof = Proof(run.name, old, _text(patched), old, _text(new))
    if not check.proof.closed:
        check.problems.append(f"the proof shows nothing: {check.proof}")


def _said(finished: Finished) -> tuple[bytes, bytes]:
    return finished.output, finished.errors


def _text(finished: Finished) -> str:
    said = (finished.output + finished.errors).decode(errors="replace")
    return f"status {finished.status}: {said[:300]}".strip()
