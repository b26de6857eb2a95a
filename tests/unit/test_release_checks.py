"""What may be published: the rules hold for what follows them, and each breach is named."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.release import Advisory, Position, Product, Release, ReleasedComponent
from naht.errors import HostileInputError, RefusedError
from naht.releases.checks import problems
from naht.releases.compare import BuildOnTrack, compare_builds, compare_positions
from naht.releases.record import ReleaseRecord, is_baseline
from tests.builders.releases import Publisher, positions_on, publishers, records

BUILD_ID = "ab" * 20


def breaches(release: Release, record: ReleaseRecord) -> set[str]:
    return {problem.rule for problem in problems(release, record)}


def changed(release: Release, **fields: object) -> Release:
    return msgspec.structs.replace(release, **fields)


def before(publisher: Publisher) -> ReleaseRecord:
    return ReleaseRecord(publisher.product, publisher.releases[:-1])


def component(level: int = 1, build_id: str = BUILD_ID) -> ReleasedComponent:
    return ReleasedComponent(
        purl="pkg:deb/debian/zlib1g", build_ids=(build_id,), hotpatch=f"Z-{level}", level=level
    )


@given(publishers())
def test_what_follows_the_rules_can_be_published(publisher: Publisher) -> None:
    for count in range(1, len(publisher.releases)):
        record = ReleaseRecord(publisher.product, publisher.releases[:count])
        assert problems(publisher.releases[count], record) == ()


@given(publishers(), st.data())
def test_no_closed_hole_may_be_left_out(publisher: Publisher, data: st.DataObject) -> None:
    """Cumulative on a track, parity between tracks, fallback into baselines: one of them objects,
    whichever hole is opened again that a release since the baseline has closed."""
    release, record = publisher.releases[-1], before(publisher)
    old = {a.id for r in record.releases for a in r.advisories}
    repeated = [a for a in release.advisories if a.id in old]
    if not repeated:
        return
    left_out = data.draw(st.sampled_from(repeated))
    kept = tuple(a for a in release.advisories if a != left_out)
    found = problems(changed(release, advisories=kept), record)
    allowed = {"fallback"} if is_baseline(release) else {"cumulative", "parity"}
    assert found
    assert {p.rule for p in found} <= allowed
    assert all(left_out.id in p.sentence for p in found)


@pytest.fixture
def publisher() -> Publisher:
    made = Publisher()
    made.publish("planned-baseline", 0)
    made.publish("hotpatch", 7)
    made.publish("hotpatch", 21)
    return made


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"product": "other-1"}, "product"),
        ({"id": "2025.01 H"}, "unique-id"),
        ({"id": "2025.02 B"}, "id-and-type"),
        ({"id": "2025.02 H2"}, "id-and-type"),
        ({"type": "out-of-band-hotpatch"}, "id-and-type"),
        ({"baseline": ""}, "stands-on-a-baseline"),
        ({"baseline": "2024.10 B"}, "stands-on-a-baseline"),
        ({"restart": "needed"}, "restart"),
        ({"restart": "conditional"}, "restart"),
        ({"level": 1}, "level"),
        ({"level": 0}, "level"),
        ({"components": (component(0),)}, "components"),
        ({"components": (ReleasedComponent(purl="pkg:deb/debian/zlib1g"),)}, "components"),
    ],
)
def test_each_breach_is_named(publisher: Publisher, fields: dict[str, object], rule: str) -> None:
    assert rule in breaches(changed(publisher.releases[-1], **fields), before(publisher))


def test_an_unplanned_baseline_may_come_in_any_month(publisher: Publisher) -> None:
    release = publisher.publish("unplanned-baseline", 3)
    assert problems(release, before(publisher)) == ()
    assert "id-and-type" in breaches(changed(release, id="2025.02 B"), before(publisher))


def test_a_baseline_says_that_it_restarts_and_stands_on_itself(publisher: Publisher) -> None:
    release = publisher.publish("planned-baseline", 60)
    assert breaches(changed(release, restart="none"), before(publisher)) == {"restart"}
    assert "stands-on-a-baseline" in breaches(
        changed(release, baseline="2025.01 B"), before(publisher)
    )


def test_two_baselines_of_one_day_would_have_no_order(publisher: Publisher) -> None:
    release = publisher.publish("unplanned-baseline", 3)
    assert "stands-on-a-baseline" in breaches(
        changed(release, date=publisher.releases[0].date), before(publisher)
    )


def test_a_hotpatch_fits_only_what_its_baseline_shipped(publisher: Publisher) -> None:
    publisher.releases[0] = changed(
        publisher.releases[0],
        components=(ReleasedComponent(purl="pkg:deb/debian/zlib1g", build_ids=(BUILD_ID,)),),
    )
    good = changed(publisher.releases[-1], components=(component(),))
    assert problems(good, before(publisher)) == ()
    strange = changed(publisher.releases[-1], components=(component(1, "cd" * 20),))
    assert breaches(strange, before(publisher)) == {"exact-baseline"}


@pytest.mark.parametrize("components", [(), (component(1),), (component(2, "cd" * 20),)])
def test_a_component_is_never_dropped_or_lowered(
    publisher: Publisher, components: tuple[ReleasedComponent, ...]
) -> None:
    publisher.releases[1] = changed(publisher.releases[1], components=(component(2),))
    later = changed(publisher.releases[-1], components=components)
    assert "cumulative" in breaches(later, before(publisher))
    kept = changed(publisher.releases[-1], components=(component(2),))
    assert problems(kept, before(publisher)) == ()


def test_what_the_standard_track_closes_the_hotpatch_track_closes_too(
    publisher: Publisher,
) -> None:
    publisher.publish("standard-cumulative", 1)
    release = publisher.publish("out-of-band-hotpatch", 1)
    without = tuple(a for a in release.advisories if a not in publisher.releases[-2].advisories)
    assert "parity" in breaches(changed(release, advisories=without), before(publisher))


def test_a_withdrawn_release_binds_nobody(publisher: Publisher) -> None:
    publisher.releases[1] = changed(publisher.releases[1], advisories=(Advisory(id="WRONG"),))
    assert "cumulative" in breaches(publisher.releases[-1], before(publisher))
    publisher.withdraw(1, publisher.day)
    assert problems(publisher.releases[-1], before(publisher)) == ()


def test_a_product_without_hotpatches_gets_none(publisher: Publisher) -> None:
    product = Product(name="test-1", title="Test 1", tracks=("standard",))
    record = ReleaseRecord(product, publisher.releases[:1])
    assert "product" in breaches(publisher.releases[1], record)


def test_a_record_that_contradicts_itself_is_not_read(publisher: Publisher) -> None:
    first, second, third = publisher.releases
    with pytest.raises(HostileInputError, match="recorded twice"):
        ReleaseRecord(publisher.product, [first, second, second])
    with pytest.raises(HostileInputError, match="the same level 1"):
        ReleaseRecord(publisher.product, [first, second, changed(third, level=1)])
    with pytest.raises(HostileInputError, match="no order"):
        ReleaseRecord(publisher.product, [first, changed(first, id="2025.01 B2")])
    with pytest.raises(HostileInputError, match="in the record of"):
        ReleaseRecord(publisher.product, [first, changed(second, product="other-1")])


# --- comparing ----------------------------------------------------------------------------------


def test_builds_compare_as_numbers_within_one_product_and_track() -> None:
    older = BuildOnTrack("windows-server-2025", "hotpatch", "26100.7392")
    newer = BuildOnTrack("windows-server-2025", "hotpatch", "26100.32313")
    assert compare_builds(older, newer) < 0 < compare_builds(newer, older)
    assert compare_builds(older, older) == 0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (BuildOnTrack("windows-server-2025", "standard", "26100.3194"), "other-track"),
        (BuildOnTrack("windows-11-24h2", "hotpatch", "26100.3194"), "other-product"),
    ],
)
def test_builds_of_other_products_and_tracks_are_not_compared(
    other: BuildOnTrack, reason: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        compare_builds(BuildOnTrack("windows-server-2025", "hotpatch", "26100.3107"), other)
    assert refused.value.reason == reason


@given(records(), st.data())
def test_positions_compare_by_baseline_then_level_and_tracks_meet_at_baselines(
    record: ReleaseRecord, data: st.DataObject
) -> None:
    one, other = data.draw(positions_on(record)), data.draw(positions_on(record))
    incomparable = one.track != other.track and one.baseline == other.baseline
    if incomparable and one.level and other.level:
        with pytest.raises(RefusedError):
            compare_positions(one, other, record)
        return
    order = compare_positions(one, other, record)
    assert compare_positions(other, one, record) == -order
    if one.baseline == other.baseline:
        assert order == (one.level > other.level) - (one.level < other.level)


def test_an_unrecorded_baseline_is_not_compared(publisher: Publisher) -> None:
    known = Position("test-1", "hotpatch", "2025.01 B", 1)
    with pytest.raises(RefusedError, match="is not in the record"):
        compare_positions(known, known._replace(baseline="2020.01 B"), publisher.record())
