"""The JSON documents of the commands about releases; see `documents` for what binds them all.

A module of its own, because the commands that touch processes should not load the release rules.
"""

from __future__ import annotations

import datetime
from typing import Literal

from naht.cli.documents import Document
from naht.domain.release import Release, Track
from naht.releases.next_step import Action, Reason
from naht.releases.windows.assess import Basis, Train
from naht.releases.windows.rows import Row
from naht.releases.windows.scanner import Claim
from naht.releases.year import Year


class CalendarDocument(Document, frozen=True, kw_only=True):
    year: int
    on: datetime.date  # the day as of which it is told
    products: tuple[Year, ...]
    schema: Literal["naht.calendar/1"] = "naht.calendar/1"


class NextDocument(Document, frozen=True, kw_only=True):
    on: datetime.date
    product: str
    track: Track
    baseline: str
    level: int
    enrolled: bool
    action: Action
    reason: Reason
    releases: tuple[Release, ...]  # in the order in which they are taken
    missed: int
    restarts: int
    may_restart: bool
    sentence: str
    exit_code: int
    upgraded_to: str = ""  # with --upgrade-to: the release at which it would stand
    schema: Literal["naht.next/1"] = "naht.next/1"


class WindowsStep(Document, frozen=True, kw_only=True):
    action: Action
    reason: Reason
    releases: tuple[Release, ...]
    restarts: int
    sentence: str


class WindowsAssessDocument(Document, frozen=True, kw_only=True):
    on: datetime.date
    name: str
    product: str
    build: str
    train: Train
    basis: Basis
    track: Track | None  # null: both are the same here, or it is not known
    release: Release | None
    off_since: Release | None
    next: WindowsStep | None
    if_not_enrolled: WindowsStep | None  # where enrolment decides, and is not known
    missing: tuple[Release, ...]
    claims: tuple[Claim, ...]  # what the scanner said, judged
    why: str
    doubts: tuple[str, ...]
    exit_code: int
    schema: Literal["naht.windows-assess/1"] = "naht.windows-assess/1"


class RowChange(Document, frozen=True, kw_only=True):
    was: Row
    now: Row


class WindowsImportDocument(Document, frozen=True, kw_only=True):
    path: str  # of the rows that were written; "" with --dry-run, or if nothing changed
    dry_run: bool
    added: tuple[Row, ...]
    changed: tuple[RowChange, ...]
    kept: tuple[RowChange, ...]  # a surer row was there: `was` stays, `now` is not taken
    exit_code: int
    schema: Literal["naht.windows-import/1"] = "naht.windows-import/1"


RELEASE_DOCUMENTS: dict[str, type[Document]] = {
    "calendar": CalendarDocument,
    "next": NextDocument,
    "windows-assess": WindowsAssessDocument,
    "windows-import": WindowsImportDocument,
}
