"""A scanner says that a KB is missing: is that true of this device? Pure.

KB lists and build numbers mislead in both directions: the tracks have KBs of their own for the same
security content, and updates are cumulative. `true` means that content is missing, whichever KB
brings it to this device; `unknown` is said where the record or the facts don't tell.
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from naht.domain.release import Product, Release
from naht.releases.explain import named
from naht.releases.record import ReleaseRecord, is_baseline, tracks_of
from naht.releases.windows.assess import Assessment
from naht.releases.windows.history import SHARED_UNTIL, SHARING

Verdict = Literal["true", "false", "unknown"]
ClaimReason = Literal[
    "not-recorded", "other-product", "perhaps-shared", "installed", "position-unknown",
    "contained", "parity", "missing", "missing-on-other-track", "no-hotpatch-yet",
    "not-yet-released", "withdrawn",
]  # fmt: skip


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    kb: str
    missing: Verdict
    reason: ClaimReason
    sentence: str
    install: str = ""  # the KB that brings the content to this device; "": none, or none yet


def judge(
    kb: str,
    seen: Assessment,
    records: Mapping[str, ReleaseRecord],
    installed: Sequence[str],
    today: datetime.date,
) -> Claim:
    release = _by_kb(records[seen.product], kb)
    if release is None:
        return _of_no_release(kb, seen, records)
    if kb in installed:
        return _false(release, "installed", f"{named(release)} is installed.")
    if release.date > today:
        return _false(
            release, "not-yet-released", f"{named(release)} is released on {release.date}."
        )
    if release.withdrawn:
        return _false(release, "withdrawn", f"{named(release)} is withdrawn.")
    if seen.release is None:
        return Claim(
            kb=kb, missing="unknown", reason="position-unknown",
            sentence=f"Where the device stands is not known: {seen.why}",
        )  # fmt: skip
    return _placed(release, seen, seen.release, records[seen.product])


def _by_kb(record: ReleaseRecord, kb: str) -> Release | None:
    return next((r for r in record.releases if r.kb == kb), None)


def _of_no_release(kb: str, seen: Assessment, records: Mapping[str, ReleaseRecord]) -> Claim:
    found = [(r.product, release) for r in records.values() if (release := _by_kb(r, kb))]
    if not found:
        return Claim(
            kb=kb, missing="unknown", reason="not-recorded",
            sentence=f"{kb} is not recorded; `naht windows import` adds updates.",
        )  # fmt: skip
    others = [product.title for product, _ in found]
    if any(_perhaps_shared(product, release, seen) for product, release in found):
        return Claim(
            kb=kb, missing="unknown", reason="perhaps-shared",
            sentence=f"{kb} is recorded for {' and '.join(others)} only; until {SHARED_UNTIL} such "
            "updates could be for this device, too.",
        )  # fmt: skip
    return Claim(
        kb=kb, missing="false", reason="other-product",
        sentence=f"{kb} is for {' and '.join(others)}, not for this device.",
    )  # fmt: skip


def _perhaps_shared(product: Product, release: Release, seen: Assessment) -> bool:
    return {product.name, seen.product} <= SHARING and release.date <= SHARED_UNTIL


def _placed(release: Release, seen: Assessment, here: Release, record: ReleaseRecord) -> Claim:
    rank, here_rank = record.rank.get(release.baseline, -1), record.rank.get(here.baseline, -1)
    if rank < here_rank or (rank == here_rank and is_baseline(release)):
        baseline = record.baselines[here_rank]
        return _false(
            release, "contained", f"The baseline {named(baseline)} holds {named(release)}."
        )
    follows = seen.position.track if seen.position else None
    if is_baseline(release) or follows in tracks_of(release):
        if (rank, release.level) <= (here_rank, here.level):
            return _false(
                release, "contained", f"{named(here)} is cumulative, and holds {named(release)}."
            )
        return _true(release, "missing", seen, "is newer than what the device has")
    if rank > here_rank:
        return _true(release, "missing-on-other-track", seen, "stands on a later baseline")
    return _other_track(release, here, seen)


def _other_track(release: Release, here: Release, seen: Assessment) -> Claim:
    """Parity: what one track closed until a day, the other had closed by then, under another KB."""
    same_build = bool(release.build) and release.build == here.build
    if same_build or (not is_baseline(here) and _last_day(release) <= here.date):
        return _false(
            release, "parity",
            f"{named(here)} of the {tracks_of(here)[0]} track has the same security content as "
            f"{named(release)} of the {tracks_of(release)[0]} track.",
        )  # fmt: skip
    if "hotpatch" in tracks_of(release):
        return _true(release, "missing-on-other-track", seen, "is newer, on the hotpatch track")
    if any(_last_day(release) <= r.date for r in seen.missing if r.kb != release.kb):
        warning = "is newer, and would take the device off the hotpatch track"
        return _true(release, "missing-on-other-track", seen, warning)
    return Claim(
        kb=release.kb, missing="true", reason="no-hotpatch-yet",
        sentence=f"{named(release)} is newer, and no hotpatch or baseline has its content yet. It "
        "would take the device off the hotpatch track until the next baseline.",
    )  # fmt: skip


def _last_day(release: Release) -> datetime.date:
    """The latest day on which it can have been released."""
    if not release.month_only:
        return release.date
    last = calendar.monthrange(release.date.year, release.date.month)[1]
    return release.date.replace(day=last)


def _false(release: Release, reason: ClaimReason, sentence: str) -> Claim:
    return Claim(kb=release.kb, missing="false", reason=reason, sentence=sentence)


def _true(release: Release, reason: ClaimReason, seen: Assessment, is_what: str) -> Claim:
    """What to install is the device's own next step, never simply the KB that the scanner names."""
    steps = seen.next.releases if seen.next else ()
    install = " and ".join(r.kb or r.id for r in steps)
    follow = f" What brings its content is {' and '.join(map(named, steps))}." if steps else ""
    return Claim(
        kb=release.kb, missing="true", reason=reason,
        sentence=f"{named(release)} {is_what}.{follow}", install=install,
    )  # fmt: skip
