"""The calendar plans by weekdays; it never says what was released."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.release import PatchDay, Product
from naht.releases.plan import next_planned_baseline, patch_day, year_plan

PRODUCT = Product(name="test-1", title="Test 1")
rules = st.builds(PatchDay, nth=st.integers(1, 4), weekday=st.integers(0, 6))


@pytest.mark.parametrize(
    ("year", "month", "day"),
    [(2024, 8, 13), (2025, 7, 8), (2025, 10, 14), (2026, 1, 13), (2026, 9, 8), (2026, 12, 8)],
)
def test_second_tuesdays(year: int, month: int, day: int) -> None:
    assert patch_day(year, month, PatchDay()) == datetime.date(year, month, day)


@given(st.integers(2000, 2100), st.integers(1, 12), rules)
def test_the_nth_weekday_is_in_its_week_of_the_month(year: int, month: int, rule: PatchDay) -> None:
    found = patch_day(year, month, rule)
    assert (found.year, found.month, found.weekday()) == (year, month, rule.weekday)
    assert (found.day - 1) // 7 == rule.nth - 1


@given(st.integers(2000, 2100), st.integers(1, 12), rules, st.integers(-7, 21))
def test_an_offset_counts_from_the_weekday_over_the_end_of_months_too(
    year: int, month: int, rule: PatchDay, offset: int
) -> None:
    moved = PatchDay(nth=rule.nth, weekday=rule.weekday, offset_days=offset)
    assert (patch_day(year, month, moved) - patch_day(year, month, rule)).days == offset


def test_four_baselines_and_eight_hotpatches_a_year() -> None:
    kinds = [slot.kind for slot in year_plan(PRODUCT, 2026)]
    assert kinds == ["baseline", "hotpatch", "hotpatch"] * 4


def test_without_a_hotpatch_track_the_other_months_are_standard() -> None:
    product = Product(name="test-2", title="Test 2", tracks=("standard",))
    assert [slot.kind for slot in year_plan(product, 2026)] == ["baseline", *["standard"] * 2] * 4


@given(st.dates(datetime.date(2000, 1, 1), datetime.date(2100, 1, 1)), st.integers(-7, 21))
def test_the_next_planned_baseline_is_the_first_one_later(
    today: datetime.date, offset: int
) -> None:
    product = Product(name="test-1", title="Test 1", patch_day=PatchDay(offset_days=offset))
    found = next_planned_baseline(product, today)
    planned = [
        slot.date
        for year in (today.year - 1, today.year, today.year + 1)
        for slot in year_plan(product, year)
        if slot.kind == "baseline" and slot.date > today
    ]
    assert found == min(planned)
