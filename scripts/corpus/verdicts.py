"""What the facts of a case amount to. Pure.

Only objects that are shipped decide; what is built and not shipped is evidence beside it. Doubt
counts against us: a refusal without a person's note is wrong, an object that nothing ran is a
failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from naht.errors import UsageError
from scripts.corpus.results import CaseResult, ObjectResult, Refusal, Trouble

Outcome = Literal["live", "refused-right", "refused-wrong", "failed", "no-change"]
OUTCOMES: tuple[Outcome, ...] = ("live", "refused-right", "refused-wrong", "failed", "no-change")
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "refused-wrong", "refused-right", "live")

_SAME_CODE = "nothing-changed"  # linked anew, or compiled with other line numbers


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's judgement of one refusal."""

    package: str
    patch: str
    reason: str
    verdict: Literal["refused-right"]
    why: str
    object: str = ""


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    object: str = ""
    reason: str = ""  # of a refusal, or the stage of a failure
    cause: str = ""
    note: str = ""


def read_notes(path: Path) -> tuple[Note, ...]:
    if not path.is_file():
        return ()
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Note, ...])
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} is malformed: {error}.", "See “Notes” in tests/corpus/README.md."
        ) from error


def judge(result: CaseResult, notes: Iterable[Note]) -> tuple[Verdict, ...]:
    """The worst comes first and is the case's own; the rest are the other objects that are not
    live."""
    mine = [n for n in notes if (n.package, n.patch) == (result.package, result.patch)]
    if result.trouble is not None:
        return (_of_trouble(result.trouble, mine),)
    verdicts = [v for o in result.objects if o.shipped_as for v in _of_object(o, mine)]
    if not verdicts:
        return (Verdict("no-change"),)
    verdicts.sort(key=lambda v: _WORST_FIRST.index(v.outcome))
    return (verdicts[0], *(v for v in verdicts[1:] if v.outcome != "live"))


def _of_trouble(trouble: Trouble, notes: list[Note]) -> Verdict:
    if trouble.kind == "BuildRefusedError":
        return _refused(Refusal(trouble.reason, trouble.cause, where=trouble.where), "", notes)
    return Verdict("failed", "", trouble.stage, trouble.cause)


def _of_object(thing: ObjectResult, notes: list[Note]) -> list[Verdict]:
    if thing.refusal:
        same = thing.refusal.reason == _SAME_CODE
        return [] if same else [_refused(thing.refusal, thing.name, notes)]
    found = [
        Verdict("failed", thing.name, f"live: {c.kind}", f"{c.name}: {'; '.join(c.problems)}")
        for c in thing.checks
        if c.outcome == "failed"
    ]
    found += [
        _refused(c.refusal, thing.name, notes)
        for c in thing.checks
        if c.outcome == "refused" and c.refusal
    ]
    return found or _of_good_checks(thing)


def _of_good_checks(thing: ObjectResult) -> list[Verdict]:
    if not thing.hotpatch_bytes or thing.unchecked:
        return []  # unchecked: said in the report; the others of its kind were checked
    if not any(c.outcome == "live" for c in thing.checks):
        return [Verdict("failed", thing.name, "live", "no process had the object mapped")]
    if not any(c.reverted for c in thing.checks):
        return [Verdict("failed", thing.name, "live", "no process of it was reverted")]
    return [Verdict("live", thing.name)]


def _refused(refusal: Refusal, name: str, notes: list[Note]) -> Verdict:
    for note in notes:
        if note.reason == refusal.reason and note.object in ("", name):
            return Verdict("refused-right", name, refusal.reason, refusal.cause, note.why)
    return Verdict("refused-wrong", name, refusal.reason, refusal.cause)
