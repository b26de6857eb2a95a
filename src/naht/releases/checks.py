"""What must be true of a release before it is published. Pure.

`problems` refuses by listing: each is a rule and a sentence. Nothing here looks at signatures.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from naht.domain.release import HOTPATCH_TYPES, Release, ReleaseType, Track
from naht.releases.record import ReleaseRecord, is_baseline, is_withdrawn, tracks_of

Rule = Literal[
    "product", "unique-id", "id-and-type", "stands-on-a-baseline", "restart", "level",
    "components", "exact-baseline", "cumulative", "parity", "fallback",
]  # fmt: skip

_FORMS: dict[ReleaseType, tuple[str, bool]] = {  # letter, and whether a number follows
    "planned-baseline": ("B", False),
    "unplanned-baseline": ("B*", False),
    "hotpatch": ("H", False),
    "out-of-band-hotpatch": ("H", True),
    "standard-cumulative": ("S", False),
    "out-of-band-standard": ("S", True),
}


class Problem(NamedTuple):
    rule: Rule
    sentence: str


def problems(release: Release, record: ReleaseRecord) -> tuple[Problem, ...]:
    """Everything that speaks against adding `release` to `record` now."""
    return tuple(problem for check in _CHECKS for problem in check(release, record))


def _product(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    name = record.product.name
    if release.product != name:
        yield Problem("product", f"{release.id} is for {release.product}, not for {name}.")
    elif not is_baseline(release) and tracks_of(release)[0] not in record.product.tracks:
        yield Problem("product", f"{name} has no {tracks_of(release)[0]} track.")


def _unique_id(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    if release.id in record.by_id:
        yield Problem("unique-id", f"{release.id} is recorded for {release.product} already.")


def _id_and_type(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    """The type decides; an id that says otherwise would mislead people."""
    name = release.id.partition(" ")[2]
    letter, number = name.rstrip("0123456789"), name.lstrip("BHS*")
    wanted, numbered = _FORMS[release.type]
    if letter != wanted or (bool(number) != numbered and not is_baseline(release)):
        form = f"{wanted}{'2' if numbered else ''}"
        yield Problem("id-and-type", f"A release of type {release.type} is named like `{form}`.")


def _stands_on_a_baseline(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    if is_baseline(release):
        if release.baseline != release.id:
            yield Problem("stands-on-a-baseline", "A baseline stands on itself.")
        if record.baselines and record.baselines[-1].date >= release.date:
            newest_id = record.baselines[-1].id
            yield Problem("stands-on-a-baseline", f"It must come a day after {newest_id} or later.")
        return
    newest = _newest_baseline(record, release.date)
    if newest is None:
        yield Problem("stands-on-a-baseline", "There is no baseline that it could stand on.")
    elif release.baseline != newest.id:
        yield Problem(
            "stands-on-a-baseline",
            f"It stands on {release.baseline or 'nothing'}; {newest.id} is the newest baseline.",
        )


def _restart(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    if release.type in HOTPATCH_TYPES and release.restart == "needed":
        yield Problem(
            "restart", "What needs a restart is no hotpatch; release it as an unplanned baseline."
        )
    if release.restart == "conditional" and not release.restart_note:
        yield Problem("restart", "Say in `restart_note` on what the restart depends.")
    if is_baseline(release) and release.restart != "needed":
        yield Problem("restart", "A baseline needs a restart.")


def _level(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    if is_baseline(release):
        if release.level:
            yield Problem("level", "A baseline is level 0.")
        return
    before = record.on(tracks_of(release)[0], release.baseline)
    lowest = before[-1].level + 1 if before else 1
    if release.level < lowest:
        yield Problem("level", f"Its level is {release.level}; the next one is {lowest}.")


def _components(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    for component in release.components:
        if release.type in HOTPATCH_TYPES and not (
            component.hotpatch and component.level and component.build_ids
        ):
            yield Problem(
                "components",
                f"{component.purl}: name its hotpatch, the level, and the build-ids that it fits.",
            )


def _exact_baseline(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    """A hotpatch fits exactly its baseline: the objects that the baseline shipped."""
    baseline = record.by_id.get(release.baseline)
    if release.type not in HOTPATCH_TYPES or baseline is None or not baseline.components:
        return
    shipped = {build_id for c in baseline.components for build_id in c.build_ids}
    for component in release.components:
        if strange := [b for b in component.build_ids if b not in shipped]:
            yield Problem(
                "exact-baseline",
                f"{component.purl}: {baseline.id} did not ship the object {strange[0]}.",
            )


def _cumulative(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    """Everything of the release before it, since exactly the same baseline."""
    if is_baseline(release):
        return
    before = _newest_good(record, tracks_of(release)[0], release.baseline, release.date)
    if before is None:
        return
    for advisory in _lacking(release, [before]):
        yield Problem(
            "cumulative", f"{advisory} was closed by {before.id}, and is not by this one."
        )
    have = {build_id: c.level for c in release.components for build_id in c.build_ids}
    for component in before.components:
        for build_id in component.build_ids:
            if have.get(build_id, -1) < component.level:
                yield Problem(
                    "cumulative",
                    f"{component.purl} ({build_id[:16]}) is at level {component.level} in "
                    f"{before.id}, and lower or missing here.",
                )


def _parity(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    """Both tracks close the same holes. What only one can close needs an unplanned baseline."""
    if is_baseline(release):
        return
    other: Track = "standard" if tracks_of(release)[0] == "hotpatch" else "hotpatch"
    sister = _newest_good(record, other, release.baseline, release.date)
    for advisory in _lacking(release, [sister] if sister else []):
        yield Problem("parity", f"{advisory} is closed on the {other} track, and not by this one.")


def _fallback(release: Release, record: ReleaseRecord) -> Iterator[Problem]:
    """Who took none of the hotpatches gets all of them with the next baseline."""
    if not is_baseline(release):
        return
    previous = _newest_baseline(record, release.date)
    if previous is None:
        return
    since = [*record.on("hotpatch", previous.id), *record.on("standard", previous.id)]
    for advisory in _lacking(release, _good(since, release.date)):
        yield Problem("fallback", f"{advisory} was closed since {previous.id}, and is not by this.")


def _lacking(release: Release, others: Iterable[Release]) -> list[str]:
    closed = {advisory.id for advisory in release.advisories}
    wanted = {advisory.id for other in others for advisory in other.advisories}
    return sorted(wanted - closed)


def _good(releases: Sequence[Release], day: datetime.date) -> list[Release]:
    return [r for r in releases if r.date <= day and not is_withdrawn(r, day)]


def _newest_good(
    record: ReleaseRecord, track: Track, baseline: str, day: datetime.date
) -> Release | None:
    return next(reversed(_good(record.on(track, baseline), day)), None)


def _newest_baseline(record: ReleaseRecord, day: datetime.date) -> Release | None:
    return next(reversed(_good(record.baselines, day)), None)


_CHECKS: tuple[Callable[[Release, ReleaseRecord], Iterator[Problem]], ...] = (
    _product, _unique_id, _id_and_type, _stands_on_a_baseline, _restart, _level, _components,
    _exact_baseline, _cumulative, _parity, _fallback,
)  # fmt: skip
