"""Decides whether old and new calls may run side by side, or all functions change at once.

Owns that one choice and its refusals; the author may make it himself. It can't see which functions
never return: those are found busy in the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from naht.build.native.code_rules import RUN_ONCE
from naht.errors import BuildRefusedError
from naht.hotpatch.manifest import Consistency

SHOWN = 6


@dataclass(frozen=True)
class ChangedCode:
    """What the choice depends on. looping: functions whose old loops go back to their entry."""

    changed: Sequence[str]
    looping: Sequence[str]
    keeps_state: bool  # brings writable data
    calls_itself: bool


def choose_consistency(code: ChangedCode, wanted: Consistency | None) -> Consistency:
    """One function that keeps no new state and never runs inside itself may overlap."""
    if code.looping and wanted == "overlap":
        raise _must_be_quiet(code.looping)
    if wanted:
        return wanted
    if once := RUN_ONCE & set(code.changed):
        raise _runs_once(min(once), set(code.changed) - RUN_ONCE)
    alone = len(code.changed) == 1 and not code.keeps_state and not code.looping
    return "overlap" if alone and not code.calls_itself else "quiescent"


def _must_be_quiet(looping: Sequence[str]) -> BuildRefusedError:
    return BuildRefusedError(
        "overlap-unsafe",
        f"An old loop in {', '.join(looping)} goes back to the function's entry, so that an old "
        "call would go on in the new code.",
        "Leave out --consistency overlap.",
        where=looping[0],
    )


def _runs_once(name: str, others: Iterable[str]) -> BuildRefusedError:
    listed = ", ".join(sorted(others)[:SHOWN])
    effect = (
        f"it stays on the stack of a live process, so that {listed} can never change together with "
        "it"
        if listed
        else "live processes stay in the old code of it"
    )
    return BuildRefusedError(
        "runs-once",
        f"{name}, or what is inlined in it, changed. It is called once, at the start: {effect}.",
        f"Upgrade, and restart what runs it; or write an author's patch without {name}'s part, if "
        "that matters at the start only and the rest is right without it.",
        where=name,
    )
