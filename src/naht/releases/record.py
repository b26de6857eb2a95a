"""The releases of one product, indexed, and what of them counts on a given day. Pure.

Refuses a record that contradicts itself. Order is by date and level, never by the number of a month
or of a build: builds of different tracks say nothing about each other.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from naht.domain.release import (
    BASELINE_TYPES,
    HOTPATCH_TYPES,
    Product,
    Release,
    Track,
)
from naht.errors import HostileInputError

MAX_RELEASES = 20_000

PlaceOnTrack = tuple[Track, str, int]  # track, baseline, level


def is_baseline(release: Release) -> bool:
    return release.type in BASELINE_TYPES


def tracks_of(release: Release) -> tuple[Track, ...]:
    """A baseline is on both tracks: there they are the same."""
    if is_baseline(release):
        return ("hotpatch", "standard")
    return ("hotpatch",) if release.type in HOTPATCH_TYPES else ("standard",)


class Frontier(msgspec.Struct, frozen=True):
    """The newest of everything on one day; `decide` needs nothing else of a record."""

    product: str
    has_hotpatches: bool  # the product has a hotpatch track
    reverts_in_memory: bool  # Windows uninstalls and restarts; we take a hotpatch out in place
    rank: dict[str, int]  # of every recorded baseline, released yet or not
    withdrawn: frozenset[PlaceOnTrack]
    top: dict[tuple[Track, str], int]  # the highest level recorded on a baseline
    baseline: Release | None = None
    baseline_rank: int = -1
    hotpatches: tuple[Release, ...] = ()  # good ones on that baseline, by level
    standards: tuple[Release, ...] = ()  # the same of the standard track
    good: dict[tuple[Track, str], tuple[Release, ...]] = {}  # what counts, on each baseline


class ReleaseRecord:
    """All releases of a product, in the order in which they came."""

    def __init__(self, product: Product, releases: Iterable[Release]) -> None:
        self.product = product
        self.releases = tuple(sorted(releases, key=_order))
        self.by_id = {release.id: release for release in self.releases}
        self.baselines = tuple(filter(is_baseline, self.releases))
        self.rank = {baseline.id: rank for rank, baseline in enumerate(self.baselines)}
        self._on = _by_place(self.releases)
        self._refuse_contradictions()

    def on(self, track: Track, baseline: str) -> tuple[Release, ...]:
        """Releases of one track that stand on a baseline, by level; not the baseline itself."""
        return self._on.get((track, baseline), ())

    def on_track(self, track: Track) -> tuple[Release, ...]:
        return tuple(release for release in self.releases if track in tracks_of(release))

    def with_releases(self, releases: Iterable[Release]) -> ReleaseRecord:
        """This record and more; a release of the same id takes the place of the old one."""
        merged = self.by_id | {release.id: release for release in releases}
        return ReleaseRecord(self.product, merged.values())

    def frontier(self, today: datetime.date) -> Frontier:
        """What counts on that day: neither what is released later, nor what is withdrawn."""
        baseline = next((b for b in reversed(self.baselines) if _counts(b, today)), None)
        good = {
            place: tuple(r for r in releases if _counts(r, today))
            for place, releases in self._on.items()
        }
        here = baseline.id if baseline else ""
        return Frontier(
            product=self.product.name,
            has_hotpatches="hotpatch" in self.product.tracks,
            reverts_in_memory=self.product.platform == "linux",
            rank=self.rank,
            withdrawn=frozenset(_withdrawn_places(self.releases, today)),
            top={place: releases[-1].level for place, releases in self._on.items()},
            baseline=baseline,
            baseline_rank=self.rank[here] if baseline else -1,
            hotpatches=good.get(("hotpatch", here), ()) if baseline else (),
            standards=good.get(("standard", here), ()) if baseline else (),
            good=good,
        )

    def _refuse_contradictions(self) -> None:
        name = self.product.name
        if len(self.releases) > MAX_RELEASES:
            raise _contradiction(f"{name} has more than {MAX_RELEASES} releases.")
        if other := next((r for r in self.releases if r.product != name), None):
            raise _contradiction(f"{other.id} of {other.product} is in the record of {name}.")
        if len(self.by_id) < len(self.releases):
            raise _contradiction(f"{_first_twice(self.releases)} is recorded twice for {name}.")
        for one, other in pairwise(self.baselines):
            if one.date == other.date:
                raise _contradiction(f"{one.id} and {other.id} are baselines of one day: no order.")
        for (track, baseline), releases in self._on.items():
            _refuse_equal_levels(track, baseline, releases)


def _order(release: Release) -> tuple[datetime.date, bool, int, str]:
    """On one day the baseline comes first: what stands on it can't be older."""
    return release.date, not is_baseline(release), release.level, release.id


def _by_place(releases: Sequence[Release]) -> dict[tuple[Track, str], tuple[Release, ...]]:
    found: dict[tuple[Track, str], list[Release]] = {}
    for release in releases:
        if not is_baseline(release):
            found.setdefault((tracks_of(release)[0], release.baseline), []).append(release)
    return {place: tuple(sorted(rs, key=lambda r: r.level)) for place, rs in found.items()}


def _counts(release: Release, today: datetime.date) -> bool:
    return release.date <= today and not is_withdrawn(release, today)


def is_withdrawn(release: Release, today: datetime.date) -> bool:
    return release.withdrawn is not None and release.withdrawn.date <= today


def _withdrawn_places(releases: Sequence[Release], today: datetime.date) -> Iterable[PlaceOnTrack]:
    for release in releases:
        if is_withdrawn(release, today):
            for track in tracks_of(release):
                yield track, release.baseline, release.level


def _first_twice(releases: Sequence[Release]) -> str:
    ids = [release.id for release in releases]
    return next(id_ for id_ in ids if ids.count(id_) > 1)


def _refuse_equal_levels(track: str, baseline: str, releases: Sequence[Release]) -> None:
    for lower, higher in pairwise(releases):
        if lower.level == higher.level:
            raise _contradiction(
                f"{lower.id} and {higher.id} have the same level {lower.level} on the {track} "
                f"track of {baseline or 'an unrecorded baseline'}."
            )


def _contradiction(cause: str) -> HostileInputError:
    return HostileInputError(cause, "Correct the record; `naht calendar` shows what it holds.")
