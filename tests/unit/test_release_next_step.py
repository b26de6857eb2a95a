"""What a device takes next: each rule as a property over any record, and its plainest example."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.release import HOTPATCH_TYPES, Position
from naht.errors import RefusedError
from naht.releases.next_step import decide, decide_all
from naht.releases.record import ReleaseRecord, is_baseline, tracks_of
from naht.releases.transitions import after, after_upgrade
from tests.builders.releases import PRODUCT, Publisher, days_of, ids, positions_on, records

LATER = datetime.date(2030, 1, 1)


def at(record: ReleaseRecord, data: st.DataObject) -> tuple[Position, datetime.date]:
    return data.draw(positions_on(record)), data.draw(days_of(record))


def enrolled(track: str, baseline: str, level: int) -> Position:
    assert track in {"hotpatch", "standard"}
    return Position(PRODUCT.name, track, baseline, level, True)  # type: ignore[arg-type]


# --- properties ---------------------------------------------------------------------------------


@given(records(), st.data())
def test_nothing_is_offered_that_is_withdrawn_or_not_yet_released(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    for release in decide(position, record.frontier(today)).releases:
        assert release.date <= today
        assert release.withdrawn is None or release.withdrawn.date > today


@given(records(), st.data())
def test_a_hotpatch_is_offered_on_exactly_its_baseline_and_the_steps_can_be_taken(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    step = decide(position, record.frontier(today))
    if step.action == "go-back":
        return
    for release in step.releases:
        if release.type in HOTPATCH_TYPES:
            assert position.baseline == release.baseline
        position = after(position, release, record.product)


@given(records(), st.data())
def test_after_its_steps_a_device_has_nothing_left_to_take(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    frontier = record.frontier(today)
    for _ in range(3):
        step = decide(position, frontier)
        if step.action not in {"hotpatch", "baseline", "standard"}:
            break
        for release in step.releases:
            position = after(position, release, record.product)
    assert decide(position, frontier).action not in {"hotpatch", "baseline", "standard"}


@given(records(), st.data())
def test_a_step_restarts_only_for_baselines_and_standard_updates(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    step = decide(position, record.frontier(today))
    if step.action == "go-back":
        assert step.restarts == (position.track == "standard")
        return
    assert step.restarts == sum(r.type not in HOTPATCH_TYPES for r in step.releases)
    if step.action == "hotpatch":
        assert step.restarts == 0


@given(records(), st.data())
def test_missed_hotpatches_are_skipped_and_only_the_newest_is_taken(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    frontier = record.frontier(today)
    step = decide(position, frontier)
    if step.action == "hotpatch":
        assert step.releases == frontier.hotpatches[-1:]
        between = [r for r in frontier.hotpatches if r.level > position.level]
        assert step.missed == len(between) - 1


@given(records(), st.data())
def test_a_missed_baseline_comes_first_and_then_the_newest_hotpatch(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    frontier = record.frontier(today)
    step = decide(position, frontier)
    if step.action == "baseline":
        assert frontier.baseline is not None
        assert record.rank[position.baseline] < frontier.baseline_rank
        assert step.releases == (frontier.baseline, *frontier.hotpatches[-1:])
        assert step.restarts == 1


@given(records(), st.data())
def test_off_the_track_no_hotpatch_is_offered_before_a_later_baseline(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    step = decide(position, record.frontier(today))
    if position.track == "standard" and position.level:
        offered = [r.type in HOTPATCH_TYPES for r in step.releases]
        assert not any(offered) or is_baseline(step.releases[0])


@given(records(), st.data())
def test_who_is_not_enrolled_is_never_offered_a_hotpatch(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    step = decide(position._replace(enrolled=False), record.frontier(today))
    if step.action != "go-back":
        assert all(r.type not in HOTPATCH_TYPES for r in step.releases)


@given(records(), st.data())
def test_no_step_leads_to_an_older_baseline_or_level_but_the_way_back_from_a_withdrawn_one(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    position, today = at(record, data)
    step = decide(position, record.frontier(today))
    if step.action == "go-back":
        assert position.level > (step.releases[0].level if step.releases else 0)
        return
    for release in step.releases:
        assert record.rank[release.baseline] >= record.rank[position.baseline]
        if release.baseline == position.baseline and position.track in tracks_of(release):
            assert release.level > position.level


@given(records(), st.data())
def test_a_batch_decides_like_single_decisions(record: ReleaseRecord, data: st.DataObject) -> None:
    today = data.draw(days_of(record))
    positions = data.draw(st.lists(positions_on(record), max_size=8))
    stranger = Position("other-1", "hotpatch", "2025.01 B", 0)
    steps = list(decide_all([*positions, stranger], {record.product.name: record}, today))
    frontier = record.frontier(today)
    assert steps[:-1] == [decide(position, frontier) for position in positions]
    assert (steps[-1].action, steps[-1].reason) == ("unknown", "product-unknown")


# --- the plainest example of each ---------------------------------------------------------------


@pytest.fixture
def publisher() -> Publisher:
    """2025.01 B, 2025.01 H, 2025.02 H, 2025.02 H2"""
    made = Publisher()
    made.publish("planned-baseline", 0)
    made.publish("hotpatch", 7)
    made.publish("hotpatch", 21)
    made.publish("out-of-band-hotpatch", 3)
    return made


def test_up_to_date(publisher: Publisher) -> None:
    step = decide(enrolled("hotpatch", "2025.01 B", 3), publisher.record().frontier(LATER))
    assert (step.action, step.reason, step.releases) == ("none", "up-to-date", ())


def test_one_newer_hotpatch(publisher: Publisher) -> None:
    step = decide(enrolled("hotpatch", "2025.01 B", 2), publisher.record().frontier(LATER))
    assert (step.action, step.reason) == ("hotpatch", "newer-hotpatch")
    assert (ids(step.releases), step.missed, step.restarts) == (["2025.02 H2"], 0, 0)


def test_two_missed_hotpatches(publisher: Publisher) -> None:
    step = decide(enrolled("hotpatch", "2025.01 B", 0), publisher.record().frontier(LATER))
    assert (step.reason, ids(step.releases), step.missed) == (
        "missed-hotpatches", ["2025.02 H2"], 2,
    )  # fmt: skip


def test_a_missed_baseline(publisher: Publisher) -> None:
    publisher.publish("planned-baseline", 60)
    publisher.publish("hotpatch", 30)
    step = decide(enrolled("hotpatch", "2025.01 B", 1), publisher.record().frontier(LATER))
    assert (step.action, step.reason, step.restarts) == ("baseline", "missed-baseline", 1)
    assert ids(step.releases) == ["2025.04 B", "2025.05 H"]


def test_an_unplanned_baseline_in_a_hotpatch_month_is_a_baseline(publisher: Publisher) -> None:
    publisher.publish("unplanned-baseline", 20)
    step = decide(enrolled("hotpatch", "2025.01 B", 3), publisher.record().frontier(LATER))
    assert (step.reason, ids(step.releases)) == ("missed-baseline", ["2025.03 B*"])


def test_an_out_of_band_standard_update_takes_a_device_off_and_the_next_baseline_brings_it_back(
    publisher: Publisher,
) -> None:
    standard = publisher.publish("out-of-band-standard", 1)
    position = after(enrolled("hotpatch", "2025.01 B", 2), standard, PRODUCT)
    assert position == enrolled("standard", "2025.01 B", 1)
    publisher.publish("out-of-band-hotpatch", 1)
    step = decide(position, publisher.record().frontier(LATER))
    assert (step.action, step.reason) == ("none", "off-track")

    publisher.publish("standard-cumulative", 7)
    step = decide(position, publisher.record().frontier(LATER))
    assert (step.action, step.reason, step.restarts) == ("standard", "off-track", 1)

    publisher.publish("planned-baseline", 30)
    publisher.publish("hotpatch", 30)
    step = decide(position, publisher.record().frontier(LATER))
    assert (step.reason, ids(step.releases)) == ("back-on-track", ["2025.03 B", "2025.04 H"])
    for release in step.releases:
        position = after(position, release, PRODUCT)
    assert position == enrolled("hotpatch", "2025.03 B", 1)


def test_a_feature_upgrade_in_a_hotpatch_month_waits_for_the_next_baseline(
    publisher: Publisher,
) -> None:
    old = Position("test-0", "hotpatch", "2025.01 B", 2, True)
    in_between = publisher.publish("standard-cumulative", 2)
    position = after_upgrade(old, in_between, PRODUCT)
    assert (position.product, position.track, position.enrolled) == ("test-1", "standard", True)
    assert decide(position, publisher.record().frontier(LATER)).reason == "off-track"

    at_baseline = publisher.publish("planned-baseline", 40)
    position = after_upgrade(old, at_baseline, PRODUCT)
    assert position == enrolled("hotpatch", at_baseline.id, 0)


def test_back_from_a_withdrawn_hotpatch(publisher: Publisher) -> None:
    publisher.withdraw(3, publisher.day)
    step = decide(enrolled("hotpatch", "2025.01 B", 3), publisher.record().frontier(LATER))
    assert (step.action, step.reason, ids(step.releases)) == (
        "go-back", "withdrawn", ["2025.02 H"],
    )  # fmt: skip
    assert step.restarts == 0  # reverted in memory


def test_windows_goes_back_by_a_restart(publisher: Publisher) -> None:
    publisher.product = msgspec.structs.replace(PRODUCT, platform="windows")
    publisher.withdraw(3, publisher.day)
    step = decide(enrolled("hotpatch", "2025.01 B", 3), publisher.record().frontier(LATER))
    assert (step.action, step.restarts) == ("go-back", 1)


def test_back_to_the_bare_baseline_when_every_hotpatch_is_withdrawn(publisher: Publisher) -> None:
    for index in (1, 2, 3):
        publisher.withdraw(index, publisher.day)
    step = decide(enrolled("hotpatch", "2025.01 B", 3), publisher.record().frontier(LATER))
    assert (step.action, step.releases) == ("go-back", ())


def test_on_a_withdrawn_baseline_nothing_is_done_until_the_next(publisher: Publisher) -> None:
    publisher.publish("unplanned-baseline", 2)
    publisher.withdraw(4, publisher.day)
    frontier = publisher.record().frontier(LATER)
    step = decide(enrolled("hotpatch", publisher.baseline, 0), frontier)
    assert (step.action, step.reason) == ("hold", "baseline-withdrawn")


def test_a_baseline_that_the_record_has_only_later_is_not_undone(publisher: Publisher) -> None:
    publisher.publish("planned-baseline", 60)
    step = decide(
        enrolled("hotpatch", "2025.04 B", 0), publisher.record().frontier(datetime.date(2025, 2, 1))
    )
    assert (step.action, step.reason) == ("hold", "ahead-of-record")


def test_a_level_beyond_the_record_is_held(publisher: Publisher) -> None:
    step = decide(enrolled("hotpatch", "2025.01 B", 9), publisher.record().frontier(LATER))
    assert (step.action, step.reason) == ("hold", "ahead-of-record")


def test_an_unknown_baseline_gets_the_newest_one(publisher: Publisher) -> None:
    step = decide(enrolled("hotpatch", "", 0), publisher.record().frontier(LATER))
    assert (step.action, step.reason) == ("baseline", "baseline-unknown")
    assert ids(step.releases) == ["2025.01 B", "2025.02 H2"]


def test_nothing_recorded_is_unknown() -> None:
    record = ReleaseRecord(PRODUCT, [])
    step = decide(enrolled("hotpatch", "2025.01 B", 0), record.frontier(LATER))
    assert (step.action, step.reason) == ("unknown", "nothing-recorded")


def test_who_leaves_the_programme_goes_to_standard_updates(publisher: Publisher) -> None:
    position = enrolled("hotpatch", "2025.01 B", 2)._replace(enrolled=False)
    step = decide(position, publisher.record().frontier(LATER))
    assert (step.action, step.reason) == ("none", "left-the-track")
    publisher.publish("standard-cumulative", 1)
    step = decide(position, publisher.record().frontier(LATER))
    assert (step.action, step.reason, step.restarts) == ("standard", "left-the-track", 1)


def test_a_hotpatch_does_not_go_on_another_baseline(publisher: Publisher) -> None:
    hotpatch = publisher.releases[1]
    with pytest.raises(RefusedError, match=r"stands on 2025\.01 B") as refused:
        after(enrolled("hotpatch", "2025.04 B", 0), hotpatch, PRODUCT)
    assert refused.value.reason == "other-baseline"


def test_a_hotpatch_does_not_go_on_the_standard_track(publisher: Publisher) -> None:
    with pytest.raises(RefusedError) as refused:
        after(enrolled("standard", "2025.01 B", 1), publisher.releases[1], PRODUCT)
    assert refused.value.reason == "off-track"
