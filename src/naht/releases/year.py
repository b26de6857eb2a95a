"""A product's year: what was planned, what is recorded, which restarts are owed. Pure.

The plan never decides: a month's recorded release says what it was, and `deviates` when it was not
what the plan said.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

import msgspec

from naht.domain.release import STANDARD_TYPES, Release, ReleaseType, Restart
from naht.releases.plan import PlannedKind, Slot, next_planned_baseline, year_plan
from naht.releases.record import ReleaseRecord, is_baseline, is_withdrawn

EntryState = Literal["planned", "recorded", "withdrawn", "not-recorded"]
"""planned: to come. not-recorded: its day is past, and the record has nothing for the month."""

_MONTHLY: frozenset[ReleaseType] = frozenset(
    {"planned-baseline", "unplanned-baseline", "hotpatch", "standard-cumulative"}
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    date: datetime.date
    state: EntryState
    planned: PlannedKind | None = None  # None: nothing was planned, it came in between
    release: Release | None = None
    deviates: bool = False
    restart: Restart
    takes_off_track: bool = False  # hotpatch devices should not have it, so they owe no restart


class Year(msgspec.Struct, frozen=True, kw_only=True):
    product: str
    title: str
    year: int
    entries: tuple[Entry, ...]
    restarts: int  # so far, on the hotpatch track where the product has one
    restarts_unplanned: int  # of these
    restarts_to_come: int
    baselines_not_recorded: tuple[datetime.date, ...]  # planned, past, and not in the record
    next_planned_restart: datetime.date  # later than the day as of which it is told


def year_of(
    record: ReleaseRecord, year: int, today: datetime.date, *, both_tracks: bool = False
) -> Year:
    hotpatches = "hotpatch" in record.product.tracks
    recorded = [r for r in record.releases if r.id.startswith(f"{year}.")]
    monthly = []
    for month, slot in enumerate(year_plan(record.product, year), 1):
        of_month = [r for r in recorded if r.id.startswith(f"{year}.{month:02} ")]
        if entry := _slot_entry(record, slot, of_month, today):
            monthly.append(entry)
    taken = {entry.release.id for entry in monthly if entry.release}
    between = [
        _entry(release, None, today, hotpatches=hotpatches)
        for release in recorded
        if release.id not in taken and (both_tracks or _concerns(release, record))
    ]
    entries = tuple(sorted([*monthly, *between], key=_by_date))
    return _counted(record, year, entries, next_planned_baseline(record.product, today))


def _slot_entry(
    record: ReleaseRecord, slot: Slot, of_month: Sequence[Release], today: datetime.date
) -> Entry | None:
    """None before the first release of the product: nothing was planned then."""
    hotpatches = "hotpatch" in record.product.tracks
    for release in of_month:
        if _is_monthly(release, record):
            return _entry(release, slot.kind, today, hotpatches=hotpatches)
    if record.releases and slot.date < record.releases[0].date:
        return None
    return Entry(
        date=slot.date,
        state="planned" if slot.date > today else "not-recorded",
        planned=slot.kind,
        restart="none" if slot.kind == "hotpatch" else "needed",
    )


def _is_monthly(release: Release, record: ReleaseRecord) -> bool:
    """Of the track that the calendar is about."""
    hotpatches = "hotpatch" in record.product.tracks
    return release.type in _MONTHLY and (release.type != "standard-cumulative" or not hotpatches)


def _concerns(release: Release, record: ReleaseRecord) -> bool:
    """Not the other track's monthly ones; one out of band could take a device off its own."""
    return release.type != "standard-cumulative" or "hotpatch" not in record.product.tracks


def _entry(
    release: Release, planned: PlannedKind | None, today: datetime.date, *, hotpatches: bool
) -> Entry:
    return Entry(
        date=release.date,
        state="withdrawn" if is_withdrawn(release, today) else "recorded",
        planned=planned,
        release=release,
        deviates=planned is not None and (planned == "baseline") != is_baseline(release),
        restart=release.restart,
        takes_off_track=hotpatches and release.type in STANDARD_TYPES,
    )


def _by_date(entry: Entry) -> tuple[datetime.date, bool, int, str]:
    release = entry.release
    if release is None:
        return entry.date, False, 0, ""
    return entry.date, not is_baseline(release), release.level, release.id


def _counted(
    record: ReleaseRecord, year: int, entries: tuple[Entry, ...], next_planned: datetime.date
) -> Year:
    restarts = [
        e for e in entries
        if e.state == "recorded" and e.restart == "needed" and not e.takes_off_track
    ]  # fmt: skip
    baselines = [e for e in entries if e.planned == "baseline"]
    return Year(
        product=record.product.name,
        title=record.product.title,
        year=year,
        entries=entries,
        restarts=len(restarts),
        restarts_unplanned=sum(e.planned in {None, "hotpatch"} for e in restarts),
        restarts_to_come=sum(e.state == "planned" and e.restart == "needed" for e in entries),
        baselines_not_recorded=tuple(e.date for e in baselines if e.state == "not-recorded"),
        next_planned_restart=next_planned,
    )
