"""One number must tell a script how many processes came out."""

from __future__ import annotations

import pytest

from naht.cli import exit_codes
from naht.domain.process import Outcome, ProcessKey, ProcessOutcome


def outcomes(*names: Outcome) -> list[ProcessOutcome]:
    return [ProcessOutcome(ProcessKey(n, 1), "x", "H", name) for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["applied", "already-applied", "would-apply"], 0),
        (["reverted", "reverted-memory-kept", "not-applied", "would-revert"], 0),
        (["refused", "refused"], 4),
        (["busy"], 5),
        (["gone"], 6),
        (["failed", "refused", "busy"], 7),
        (["refused", "busy", "gone"], 4),
        (["busy", "gone"], 5),
        (["applied", "busy"], 8),
        (["applied", "gone"], 8),
    ],
)
def test_chosen_processes(names: list[Outcome], code: int) -> None:
    assert exit_codes.of_outcomes(outcomes(*names), searched=False) == code


@pytest.mark.parametrize(
    ("names", "code"),
    [(["applied", "gone"], 0), (["busy", "gone"], 5), (["gone"], 9), ([], 9)],
)
def test_processes_that_ended_do_not_spoil_all(names: list[Outcome], code: int) -> None:
    assert exit_codes.of_outcomes(outcomes(*names), searched=True) == code


def test_a_bug_is_never_hidden_among_good_ones() -> None:
    bug = ProcessOutcome(ProcessKey(9, 1), "", "", "failed", exit_codes.INTERNAL_ERROR)
    assert exit_codes.of_outcomes([*outcomes("applied"), bug], searched=True) == 1


def test_the_help_explains_every_code() -> None:
    named = {n: v for n, v in vars(exit_codes).items() if n.isupper() and isinstance(v, int)}
    codes = list(named.values())
    assert len(codes) == len(set(codes)) == 11
    for code in codes:
        assert f" {code}  " in exit_codes.EXPLAINED


@pytest.mark.parametrize("reason", sorted(exit_codes.UNREADABLE))
def test_processes_that_cannot_be_read_decide_only_where_they_were_asked_for(reason: str) -> None:
    unread = ProcessOutcome(ProcessKey(9, 1), "", "", "refused", reason)
    good = outcomes("applied")
    assert exit_codes.of_outcomes([*good, unread], searched=True) == 0
    assert exit_codes.of_outcomes([unread], searched=True) == 9
    assert exit_codes.of_outcomes([*good, unread], searched=False) == 8
    assert exit_codes.of_outcomes([unread], searched=False) == 4
