"""docs/releases.md explains every action, reason, train and claim that the commands print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from naht.domain.release import ReleaseType
from naht.releases.next_step import Action, Reason
from naht.releases.windows.assess import Train
from naht.releases.windows.rows import RowType
from naht.releases.windows.scanner import ClaimReason, Verdict

PAGE = (Path(__file__).parents[2] / "docs" / "releases.md").read_text()


def table(head: str) -> list[list[str]]:
    """The cells of each row of the table with that head."""
    rows = PAGE[PAGE.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize(
    ("head", "column", "names"),
    [
        ("| `action` |", 0, get_args(Action)),
        ("| `reason` |", 0, get_args(Reason)),
        ("| `train` |", 0, get_args(Train)),
        ("| claim | reason |", 1, get_args(ClaimReason)),
    ],
)
def test_tables_and_code_agree(head: str, column: int, names: tuple[str, ...]) -> None:
    found = [name for row in table(head) for name in re.findall(r"`([^`]+)`", row[column])]
    assert sorted(found) == sorted(names)


def test_types_are_explained() -> None:
    for name in (*get_args(ReleaseType), *get_args(RowType)):
        assert f"`{name}`" in PAGE
    assert {row[0] for row in table("| claim | reason |")} == set(get_args(Verdict))
