"""Facts of any device → where it stands. Pure; the facts are written by others.

Refuses to guess: what can't be placed is an error that names the fact that is missing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from naht.domain.release import BaselineId, Level, Position, Track
from naht.errors import UsageError
from naht.releases.record import ReleaseRecord, is_baseline, tracks_of
from naht.releases.windows.assess import Assessment, assess
from naht.releases.windows.device import WindowsFacts, Word


class DeviceFacts(WindowsFacts, frozen=True, kw_only=True):
    """`release` alone says all the rest; or `track`, `baseline` and `level`; or Windows' facts."""

    release: Word = ""  # id of the newest release that it has: 2026.11 H
    baseline: BaselineId = ""
    level: Level | None = None


def position_of(
    facts: DeviceFacts, records: Mapping[str, ReleaseRecord], today: datetime.date
) -> tuple[Position, Assessment | None]:
    """Where the device stands, and how a Windows device's build told so."""
    if facts.build and not (facts.release or facts.baseline):
        seen = assess(facts, records, today)
        if seen.position is None:
            raise UsageError(seen.why, " ".join(seen.doubts))
        return seen.position, seen
    return _stated(facts, records), None


def _stated(facts: DeviceFacts, records: Mapping[str, ReleaseRecord]) -> Position:
    if not facts.product:
        raise UsageError("The facts name no product.", "Add `product`, such as debian-12.")
    if facts.release:
        return _after(facts, records)
    if facts.level is None:
        raise UsageError(
            "The facts don't say where the device stands.",
            "Add `release` (such as 2026.11 H), or `baseline` and `level`, or a Windows `build`.",
        )
    track: Track = facts.track or "hotpatch"
    return Position(facts.product, track, facts.baseline, facts.level, _enrolled(facts, track))


def _after(facts: DeviceFacts, records: Mapping[str, ReleaseRecord]) -> Position:
    record = records.get(facts.product)
    release = record.by_id.get(facts.release) if record else None
    if release is None:
        raise UsageError(
            f"{facts.release!r} of {facts.product} is not recorded.",
            f"`naht calendar --product {facts.product}` shows what is.",
        )
    track = tracks_of(release)[0]
    if is_baseline(release) and facts.enrolled is False:
        track = "standard"
    enrolled = _enrolled(facts, track)
    return Position(facts.product, track, release.baseline, release.level, enrolled)


def _enrolled(facts: DeviceFacts, track: Track) -> bool:
    """Who is on the hotpatch track is enrolled, unless it is said that it no longer is."""
    return track == "hotpatch" if facts.enrolled is None else facts.enrolled
