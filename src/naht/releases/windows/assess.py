"""Facts of a Windows device → product, track, level, on or off the track, what is missing.

Pure. The build decides where it is one release's alone; where two tracks share it, or the record
does not have it, installed updates decide; else the answer is `unknown`, with what would tell.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from naht.domain.release import HOTPATCH_TYPES, Position, Release, Track
from naht.errors import UsageError
from naht.releases.compare import build_number
from naht.releases.explain import doubts, named
from naht.releases.next_step import NextStep, decide
from naht.releases.record import ReleaseRecord, is_baseline, tracks_of
from naht.releases.windows.device import WindowsFacts, product_of

Train = Literal["on", "off", "at-baseline", "not-enrolled", "not-offered", "unknown"]
"""on, off: the hotpatch track. at-baseline: both tracks are the same here, and whether the device
is enrolled is not known. not-offered: the product has no hotpatches."""
Basis = Literal["build", "build-and-kb", "kb", "stated", "unknown"]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    product: str
    build: str
    train: Train
    basis: Basis  # what decided the track
    track: Track | None
    release: Release | None  # where it stands
    position: Position | None
    off_since: Release | None = None  # that took it off
    next: NextStep | None = None
    otherwise: NextStep | None = None  # when it is not enrolled, and that is not known
    missing: tuple[Release, ...] = ()  # of its track, good, beyond it; the last holds the others
    why: str  # one sentence
    doubts: tuple[str, ...] = ()


def assess(
    facts: WindowsFacts, records: Mapping[str, ReleaseRecord], today: datetime.date
) -> Assessment:
    record = _record(facts, records)
    if not facts.build:
        raise UsageError("The facts have no build.", "Add `build` as CurrentBuild.UBR: 26100.6905.")
    _refuse_foreign_build(facts, record)
    candidates = [r for r in record.releases if r.build == facts.build]
    if not candidates:
        return _unrecorded(facts, record, today)
    if len(candidates) == 1:
        return _placed(facts, record, candidates[0], "build", today)
    return _shared_build(facts, record, candidates, today)


def _record(facts: WindowsFacts, records: Mapping[str, ReleaseRecord]) -> ReleaseRecord:
    name = product_of(facts)
    if name not in records or records[name].product.platform != "windows":
        raise UsageError(
            f"There is no Windows product {name!r}.", "`naht calendar` lists the products."
        )
    return records[name]


def _refuse_foreign_build(facts: WindowsFacts, record: ReleaseRecord) -> None:
    wanted = record.product.windows_build
    if wanted and build_number(facts.build)[0] != wanted:
        raise UsageError(
            f"{facts.build} is no build of {record.product.title}: those begin with {wanted}.",
            "Correct `product` or `build` in the facts.",
        )


def _shared_build(
    facts: WindowsFacts, record: ReleaseRecord, candidates: Sequence[Release], today: datetime.date
) -> Assessment:
    """Two tracks show the same build. A standard update that is there has taken it off the track,
    whatever else is there."""
    installed = [r for r in candidates if r.kb in facts.installed_kbs]
    for track in ("standard", "hotpatch"):
        if found := [r for r in installed if track in tracks_of(r)]:
            return _placed(facts, record, found[-1], "build-and-kb", today)
    if facts.track and (found := [r for r in candidates if facts.track in tracks_of(r)]):
        return _placed(facts, record, found[-1], "stated", today)
    kbs = " and ".join(f"{r.kb} ({tracks_of(r)[0]} track)" for r in candidates)
    return _unknown(
        facts, record, f"{kbs} show the same build {facts.build}: installed updates must tell."
    )


def _unrecorded(facts: WindowsFacts, record: ReleaseRecord, today: datetime.date) -> Assessment:
    """An update whose build the record lacks, or an update that it lacks altogether."""
    baseline = _baseline_below(facts.build, record)
    installed = [
        r for r in record.releases
        if r.kb in facts.installed_kbs and baseline and r.baseline == baseline.id
        and not is_baseline(r) and _fits(r, facts.build)
    ]  # fmt: skip
    for track in ("standard", "hotpatch"):
        found = [r for r in installed if track in tracks_of(r)]
        if found:
            return _placed(facts, record, found[-1], "kb", today)
    between = (
        f"It stands on {baseline.id} ({baseline.kb})" if baseline else "No baseline is below it"
    )
    return _unknown(
        facts,
        record,
        f"Build {facts.build} is not recorded. {between}; the update may be a preview, or one that "
        "the record lacks.",
    )


def _fits(release: Release, build: str) -> bool:
    """A device shows at least the build of what is installed."""
    return not release.build or build_number(release.build) <= build_number(build)


def _baseline_below(build: str, record: ReleaseRecord) -> Release | None:
    """Baselines have the same build on both tracks, so any device's build compares with theirs."""
    below = [b for b in record.baselines if build_number(b.build) <= build_number(build)]
    return below[-1] if below else None


def _placed(
    facts: WindowsFacts, record: ReleaseRecord, release: Release, basis: Basis, today: datetime.date
) -> Assessment:
    train = _train(facts, record, release)
    enrolled = train in {"on", "at-baseline"} or (train == "off" and facts.enrolled is True)
    track: Track = "hotpatch" if train in {"on", "at-baseline"} else "standard"
    position = Position(record.product.name, track, release.baseline, release.level, enrolled)
    frontier = record.frontier(today)
    otherwise = None
    if train == "at-baseline":
        otherwise = decide(position._replace(track="standard", enrolled=False), frontier)
    return Assessment(
        product=record.product.name,
        build=facts.build,
        train=train,
        basis=basis,
        track=None if train == "at-baseline" else track,
        release=release,
        position=position,
        off_since=_off_since(facts, record, release) if train == "off" else None,
        next=decide(position, frontier),
        otherwise=otherwise,
        missing=_missing(record, release, track, today),
        why=_why(train, release, record, facts),
        doubts=tuple(_doubts(facts, record, release)),
    )


def _train(facts: WindowsFacts, record: ReleaseRecord, release: Release) -> Train:
    if "hotpatch" not in record.product.tracks:
        return "not-offered"
    if is_baseline(release):
        by_fact: dict[bool | None, Train] = {True: "on", False: "not-enrolled", None: "at-baseline"}
        return by_fact[facts.enrolled]
    if "hotpatch" in tracks_of(release):
        return "on"
    return "not-enrolled" if facts.enrolled is False else "off"


def _off_since(facts: WindowsFacts, record: ReleaseRecord, release: Release) -> Release:
    """The first standard update since the baseline that is known to be installed."""
    since = record.on("standard", release.baseline)
    return next((r for r in since if r.kb in facts.installed_kbs), release)


def _missing(
    record: ReleaseRecord, release: Release, track: Track, today: datetime.date
) -> tuple[Release, ...]:
    """Good releases of its own track beyond where it stands, in order."""
    here = (record.rank.get(release.baseline, -1), release.level)
    return tuple(
        r for r in record.on_track(track)
        if (record.rank.get(r.baseline, -1), r.level) > here
        and r.date <= today and not (r.withdrawn and r.withdrawn.date <= today)
    )  # fmt: skip


def _why(train: Train, release: Release, record: ReleaseRecord, facts: WindowsFacts) -> str:
    here = named(release)
    title = record.product.title
    sentences: dict[Train, str] = {
        "on": f"On the hotpatch track, at {here}.",
        "off": f"Off the hotpatch track until the next baseline: {here} is a standard update.",
        "at-baseline": f"At the baseline {here}, where both tracks are the same; which "
        "one it follows depends on whether it is enrolled.",
        "not-enrolled": f"Not enrolled: standard updates, at {here}.",
        "not-offered": f"Standard updates, at {here}; {title} has no hotpatches.",
        "unknown": "",
    }
    return sentences[train]


def _doubts(facts: WindowsFacts, record: ReleaseRecord, release: Release) -> Iterator[str]:
    yield from doubts(release)
    if facts.kbs_complete and release.kb not in facts.installed_kbs:
        yield f"{named(release)} is not among the installed updates, but the build is its."
    if facts.enrolled is False and release.type in HOTPATCH_TYPES:
        yield "It is said not to be enrolled, but shows a build of the hotpatch track."
    if facts.track and facts.track not in tracks_of(release):
        yield f"It is said to be on the {facts.track} track; build and updates say otherwise."


def _unknown(facts: WindowsFacts, record: ReleaseRecord, why: str) -> Assessment:
    return Assessment(
        product=record.product.name,
        build=facts.build,
        train="unknown" if "hotpatch" in record.product.tracks else "not-offered",
        basis="unknown",
        track=None,
        release=None,
        position=None,
        why=why,
        doubts=("Add `installed_kbs` (`Get-HotFix`) to the facts, or update the record.",),
    )
