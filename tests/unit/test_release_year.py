"""The year as people see it: plan beside record, and the restarts that are owed."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.release import Product
from naht.releases.record import ReleaseRecord
from naht.releases.windows.history import windows_records
from naht.releases.year import Year, year_of
from tests.builders.releases import records

RECORDS = windows_records()
TODAY = datetime.date(2026, 9, 20)


def states(year: Year) -> dict[int, str]:
    return {e.date.month: e.state for e in year.entries if e.planned}


@given(records(), st.sampled_from([2025, 2026]), st.dates(datetime.date(2025, 1, 1)))
def test_every_release_of_the_year_is_shown_once_and_every_month_at_most_planned_once(
    record: ReleaseRecord, year: int, today: datetime.date
) -> None:
    entries = year_of(record, year, today, both_tracks=True).entries
    shown = [e.release.id for e in entries if e.release]
    assert sorted(shown) == sorted(r.id for r in record.releases if r.date.year == year)
    planned = [e.release.id[:7] if e.release else f"{e.date:%Y.%m}" for e in entries if e.planned]
    assert len(planned) == len(set(planned))


@given(records(), st.dates(datetime.date(2025, 1, 1), datetime.date(2026, 12, 31)))
def test_what_is_to_come_is_planned_and_what_is_past_is_recorded_or_not(
    record: ReleaseRecord, today: datetime.date
) -> None:
    for entry in year_of(record, 2025, today).entries:
        if entry.release is None:
            assert (entry.state == "planned") == (entry.date > today)


def test_a_flipped_month_deviates_and_counts_as_an_unplanned_restart() -> None:
    year = year_of(RECORDS["windows-server-2022-azure"], 2024, TODAY)
    flipped = [e for e in year.entries if e.deviates]
    assert [e.release.id for e in flipped if e.release] == ["2024.08 B*"]
    assert (year.restarts, year.restarts_unplanned, year.restarts_to_come) == (5, 1, 0)


def test_restarts_past_and_to_come_and_a_month_without_a_record() -> None:
    year = year_of(RECORDS["windows-server-2022-azure"], 2026, TODAY)
    assert (year.restarts, year.restarts_unplanned, year.restarts_to_come) == (4, 1, 1)
    assert states(year)[6] == "not-recorded"
    assert states(year)[10] == "planned"
    assert year.next_planned_restart == datetime.date(2026, 10, 13)


def test_a_planned_baseline_that_nobody_recorded_is_named() -> None:
    year = year_of(RECORDS["windows-server-2025"], 2026, datetime.date(2026, 11, 22))
    assert year.baselines_not_recorded == (datetime.date(2026, 10, 13),)


def test_an_out_of_band_standard_update_is_no_restart_that_a_hotpatch_device_owes() -> None:
    year = year_of(RECORDS["windows-server-2025"], 2026, TODAY)
    away = [e.release.kb for e in year.entries if e.takes_off_track and e.release]
    assert "KB5129235" in away
    assert year.restarts == 5
    server_2022 = year_of(RECORDS["windows-server-2022"], 2026, TODAY)
    assert not any(e.takes_off_track for e in server_2022.entries)
    assert server_2022.restarts == 10  # without hotpatches, every update restarts


def test_monthly_updates_of_the_standard_track_only_when_both_are_asked_for() -> None:
    record = RECORDS["windows-server-2025"]
    one, both = year_of(record, 2026, TODAY), year_of(record, 2026, TODAY, both_tracks=True)
    more = {e.release.type for e in both.entries if e.release and e not in one.entries}
    assert more == {"standard-cumulative"}


def test_before_its_first_release_nothing_was_planned_of_a_product() -> None:
    year = year_of(RECORDS["windows-11-25h2"], 2025, TODAY)
    assert min(states(year)) == 10


@pytest.mark.parametrize("offset", [-7, 0, 21])
def test_a_patch_day_that_slips_into_another_month_keeps_twelve_slots(offset: int) -> None:
    product = Product(name="test-1", title="Test 1")
    late = msgspec.structs.replace(
        product, patch_day=msgspec.structs.replace(product.patch_day, offset_days=offset)
    )
    assert len(year_of(ReleaseRecord(late, []), 2026, TODAY).entries) == 12
