"""Release records as a publisher would make them: each release passes the publishing checks."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as st

from naht.domain.release import (
    Advisory,
    Position,
    Product,
    Release,
    ReleaseType,
    Track,
    Withdrawal,
)
from naht.releases.record import ReleaseRecord

PRODUCT = Product(name="test-1", title="Test 1")
FIRST_DAY = datetime.date(2025, 1, 14)
TYPES: tuple[ReleaseType, ...] = (
    "planned-baseline", "unplanned-baseline", "hotpatch", "out-of-band-hotpatch",
    "standard-cumulative", "out-of-band-standard",
)  # fmt: skip
LETTERS: dict[ReleaseType, str] = {
    "planned-baseline": "B", "unplanned-baseline": "B*", "hotpatch": "H",
    "out-of-band-hotpatch": "H", "standard-cumulative": "S", "out-of-band-standard": "S",
}  # fmt: skip
OUT_OF_BAND: dict[ReleaseType, ReleaseType] = {
    "hotpatch": "out-of-band-hotpatch", "standard-cumulative": "out-of-band-standard",
}  # fmt: skip


@dataclass
class Publisher:
    """Makes one release after the other, by the rules."""

    product: Product = PRODUCT
    day: datetime.date = FIRST_DAY
    releases: list[Release] = field(default_factory=list)
    closed: list[Advisory] = field(default_factory=list)  # since the newest baseline
    baseline: str = ""
    levels: dict[str, int] = field(default_factory=dict)

    def publish(self, kind: ReleaseType, days: int = 7, *, new_holes: int = 1) -> Release:
        self.day += datetime.timedelta(days=days)
        if OUT_OF_BAND.get(kind) and self._stem(kind) in {r.id for r in self.releases}:
            kind = OUT_OF_BAND[kind]  # the month has its planned one
        self.closed += [self._advisory(i) for i in range(new_holes)]
        release = self._release(kind)
        self.releases.append(release)
        if release.level == 0:
            self.closed = []
        return release

    def record(self) -> ReleaseRecord:
        return ReleaseRecord(self.product, self.releases)

    def withdraw(self, index: int, day: datetime.date) -> None:
        withdrawn = Withdrawal(date=day, reason="It misbehaves.")
        self.releases[index] = msgspec.structs.replace(self.releases[index], withdrawn=withdrawn)

    def _advisory(self, index: int) -> Advisory:
        return Advisory(id=f"ADV-{len(self.releases)}-{index}", severity="critical")

    def _release(self, kind: ReleaseType) -> Release:
        id_ = self._id(kind)
        if kind.endswith("baseline"):
            self.baseline, self.levels = id_, {}
            level = 0
        else:
            level = self.levels[LETTERS[kind]] = self.levels.get(LETTERS[kind], 0) + 1
        return Release(
            id=id_,
            product=self.product.name,
            type=kind,
            date=self.day,
            baseline=self.baseline,
            level=level,
            restart="none" if LETTERS[kind] == "H" else "needed",
            advisories=tuple(self.closed),
        )

    def _stem(self, kind: ReleaseType) -> str:
        return f"{self.day:%Y.%m} {LETTERS[kind]}"

    def _id(self, kind: ReleaseType) -> str:
        stem = self._stem(kind)
        taken = {release.id for release in self.releases}
        plain_is_free = stem not in taken and not kind.startswith("out-of-band")
        return (
            stem
            if plain_is_free
            else next(f"{stem}{n}" for n in range(2, 99) if f"{stem}{n}" not in taken)
        )


@st.composite
def publishers(draw: st.DrawFn) -> Publisher:
    """A baseline, then anything; unplanned ones in any month, two releases on one day, too."""
    publisher = Publisher()
    publisher.publish("planned-baseline", 0)
    for kind in draw(st.lists(st.sampled_from(TYPES), max_size=10)):
        days = draw(st.sampled_from([0, 1, 7, 28]))
        if kind.endswith("baseline"):
            days = max(1, days)  # two on one day would have no order
        publisher.publish(kind, days, new_holes=draw(st.integers(0, 2)))
    return publisher


@st.composite
def records(draw: st.DrawFn) -> ReleaseRecord:
    """As published; then some releases are withdrawn."""
    publisher = draw(publishers())
    last = publisher.releases[-1].date
    for index in draw(st.sets(st.integers(0, len(publisher.releases) - 1), max_size=3)):
        day = draw(st.dates(publisher.releases[index].date, last))
        publisher.withdraw(index, day)
    return publisher.record()


def days_of(record: ReleaseRecord) -> st.SearchStrategy[datetime.date]:
    first, last = record.releases[0].date, record.releases[-1].date
    return st.dates(first - datetime.timedelta(days=2), last + datetime.timedelta(days=40))


def positions_on(record: ReleaseRecord) -> st.SearchStrategy[Position]:
    """Everywhere that a device can truly be: after each release, enrolled or not."""
    places = {(_track(r), r.baseline, r.level) for r in record.releases}
    return st.builds(
        lambda place, enrolled: Position(
            record.product.name, place[0], place[1], place[2], enrolled
        ),
        st.sampled_from(sorted(places)),
        st.booleans(),
    )


def _track(release: Release) -> Track:
    return "hotpatch" if LETTERS[release.type] in {"B", "B*", "H"} else "standard"


def ids(releases: Sequence[Release]) -> list[str]:
    return [release.id for release in releases]
