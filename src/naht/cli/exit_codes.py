"""Exit codes of every command, in one place; docs/cli.md explains them to people. Pure.

Codes 2 to 7 and 9 are those of the errors in `naht.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable

from naht.domain.process import GOOD_OUTCOMES, ProcessOutcome
from naht.errors import (
    BusyError,
    HostileInputError,
    NahtError,
    NothingToDoError,
    RefusedError,
    TargetGoneError,
    ToolError,
    UsageError,
)

GOOD = 0
UNEXPECTED = NahtError.exit_code
USAGE = UsageError.exit_code
HOSTILE = HostileInputError.exit_code
REFUSED = RefusedError.exit_code
BUSY = BusyError.exit_code
GONE = TargetGoneError.exit_code
FAILED = ToolError.exit_code
MIXED = 8
NOTHING_TO_DO = NothingToDoError.exit_code
INTERRUPTED = 130

INTERNAL_ERROR = "internal-error"  # ProcessOutcome.reason of a bug of ours

UNREADABLE = frozenset({"no-permission", "leader-exited"})  # reasons of the engine

_CODE_OF = {"refused": REFUSED, "busy": BUSY, "gone": GONE, "failed": FAILED}
_WORST_FIRST = (UNEXPECTED, FAILED, HOSTILE, REFUSED, BUSY, GONE)


def of_outcome(outcome: ProcessOutcome) -> int:
    if outcome.outcome in GOOD_OUTCOMES:
        return GOOD
    return UNEXPECTED if outcome.reason == INTERNAL_ERROR else _CODE_OF[outcome.outcome]


def is_unreadable(outcome: ProcessOutcome) -> bool:
    """Whether it runs the target is not known; a search names such processes all the same."""
    return outcome.outcome == "refused" and outcome.reason in UNREADABLE


def of_outcomes(outcomes: Iterable[ProcessOutcome], *, searched: bool) -> int:
    """`searched` (`--all`): processes that ended by themselves no longer run the old code, and
    those that can't be read are not known to run it; both are shown, and decide nothing."""
    codes = [
        of_outcome(o)
        for o in outcomes
        if not (searched and (o.outcome == "gone" or is_unreadable(o)))
    ]
    if not codes:
        return NOTHING_TO_DO
    if UNEXPECTED in codes:
        return UNEXPECTED
    if GOOD in codes:
        return GOOD if set(codes) == {GOOD} else MIXED
    return next(code for code in _WORST_FIRST if code in codes)


def of_healing(outcomes: Iterable[ProcessOutcome], *, remaining: bool, interrupted: bool) -> int:
    """`remaining`: old code runs that no hotpatch of the library closes. Good is only a host on
    which nothing of what was looked for runs old code."""
    if interrupted:
        return INTERRUPTED
    code = of_outcomes(outcomes, searched=True)
    if code == NOTHING_TO_DO:
        return NOTHING_TO_DO if remaining else GOOD
    return MIXED if code == GOOD and remaining else code


def of_build(hotpatches: int, refused: int) -> int:
    """Of the shipped objects that a change alters."""
    if hotpatches and refused:
        return MIXED
    if refused:
        return REFUSED
    return GOOD if hotpatches else NOTHING_TO_DO


EXPLAINED = """\
exit codes:
  0  all good                          6  the target process is gone
  1  unexpected error (a bug)          7  a tool or the kernel failed
  2  wrong usage                       8  mixed: some processes good, some not
  3  malformed or hostile input        9  nothing to do: no process matches
  4  refused: not provably safe      130  interrupted, after the target was let go
  5  busy: safe later, try again"""
