"""The calendar of a product: what is planned, never what happened. Pure; a day is passed in."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Iterator
from typing import Literal, NamedTuple

from naht.domain.release import PatchDay, Product

PlannedKind = Literal["baseline", "hotpatch", "standard"]
_DAY = datetime.timedelta(days=1)


class Slot(NamedTuple):
    """One month's planned release."""

    date: datetime.date
    kind: PlannedKind


def patch_day(year: int, month: int, rule: PatchDay) -> datetime.date:
    first = datetime.date(year, month, 1)
    to_weekday = (rule.weekday - first.weekday()) % 7
    return first + _DAY * (to_weekday + 7 * (rule.nth - 1) + rule.offset_days)


def slot(product: Product, year: int, month: int) -> Slot:
    return Slot(patch_day(year, month, product.patch_day), _kind(product, month))


def year_plan(product: Product, year: int) -> tuple[Slot, ...]:
    return tuple(slot(product, year, month) for month in range(1, 13))


def next_planned_baseline(product: Product, after: datetime.date) -> datetime.date:
    """The first planned baseline later than that day."""
    return next(s.date for s in _slots_from(product, after) if _is_later_baseline(s, after))


def month_name(date: datetime.date) -> str:
    return f"{calendar.month_name[date.month]} {date.year}"


def _kind(product: Product, month: int) -> PlannedKind:
    if month in product.baseline_months:
        return "baseline"
    return "hotpatch" if "hotpatch" in product.tracks else "standard"


def _is_later_baseline(candidate: Slot, after: datetime.date) -> bool:
    return candidate.kind == "baseline" and candidate.date > after


def _slots_from(product: Product, start: datetime.date) -> Iterator[Slot]:
    """From the month before `start`: an offset can move a patch day into the next month."""
    year, month = (start.year, start.month - 1) if start.month > 1 else (start.year - 1, 12)
    while True:
        yield slot(product, year, month)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
