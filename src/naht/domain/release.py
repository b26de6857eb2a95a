"""Releases, the products and tracks they are for, and where a device stands. Facts only: no rules,
no I/O, no clock. What follows from them is in `naht.releases`.

A release is stored and sent as JSON by these types; decoding refuses what is unknown or unbounded.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

Text = Annotated[str, msgspec.Meta(max_length=16384)]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
# `$` alone would let a final line break pass (Python's re), so it is forbidden to follow.
ProductName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$(?!\n)")
]
ReleaseId = Annotated[
    str,
    msgspec.Meta(
        max_length=16, pattern=r"^[0-9]{4}\.(0[1-9]|1[0-2]) (B\*?|H|S)([2-9]|[1-9][0-9])?$(?!\n)"
    ),
]
"""YEAR.MONTH and what it is: `2026.10 B`, `2026.09 B*` unplanned, `2026.11 H`, `2026.11 S`. A
number from 2 on: out of band, or a second baseline. For people; the recorded type decides."""
BaselineId = Annotated[
    str,
    msgspec.Meta(
        max_length=16,
        pattern=r"^([0-9]{4}\.(0[1-9]|1[0-2]) B\*?([2-9]|[1-9][0-9])?)?$(?!\n)",
    ),
]
"""The `ReleaseId` of a baseline; "": not recorded, so nothing can be proved to apply."""
Level = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
BuildText = Annotated[
    str, msgspec.Meta(max_length=32, pattern=r"^([0-9]{1,9}\.[0-9]{1,9})?$(?!\n)")
]
KnowledgeBaseId = Annotated[str, msgspec.Meta(max_length=12, pattern=r"^(KB[0-9]{6,9})?$(?!\n)")]
BuildIdText = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){4,64}$(?!\n)")]
DigestText = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")]

Track = Literal["hotpatch", "standard"]
ReleaseType = Literal[
    "planned-baseline", "unplanned-baseline", "hotpatch", "out-of-band-hotpatch",
    "standard-cumulative", "out-of-band-standard",
]  # fmt: skip
BASELINE_TYPES = frozenset({"planned-baseline", "unplanned-baseline"})
HOTPATCH_TYPES = frozenset({"hotpatch", "out-of-band-hotpatch"})
STANDARD_TYPES = frozenset({"standard-cumulative", "out-of-band-standard"})

Classification = Literal[
    "critical", "security", "update-rollup", "feature-pack", "service-pack", "definition",
    "tools", "other", "unstated",
]  # fmt: skip
Restart = Literal["none", "needed", "conditional"]
Confidence = Literal["high", "medium", "low", "unstated"]
ReleaseSeverity = Literal["critical", "important", "moderate", "low", "unknown"]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Advisory(Fact, frozen=True, kw_only=True):
    """A hole that is closed: DSA-1234-1, CVE-2026-1, GHSA-…"""

    id: ShortText
    cves: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=1000)] = ()
    severity: ReleaseSeverity = "unknown"
    title: Text = ""


class ReleasedComponent(Fact, frozen=True, kw_only=True):
    """In a baseline: what it ships. In a hotpatch release: what the hotpatch brings, to what."""

    purl: ShortText
    build_ids: Annotated[tuple[BuildIdText, ...], msgspec.Meta(max_length=1000)] = ()
    """Of the baseline's objects, in either kind of release: a hotpatch fits exactly these."""
    hotpatch: Annotated[str, msgspec.Meta(max_length=128)] = ""  # its id; "" in a baseline
    digest: DigestText = ""  # SHA-256 of the hotpatch file
    level: Level = 0  # of the cumulative hotpatch; 0: the baseline itself


class Withdrawal(Fact, frozen=True, kw_only=True):
    date: datetime.date
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=16384)]


class Release(Fact, frozen=True, kw_only=True):
    """`advisories` and `components` are cumulative since exactly `baseline`; a baseline's are since
    the baseline before it. `level` counts the releases of one track since their baseline."""

    id: ReleaseId
    product: ProductName
    type: ReleaseType
    date: datetime.date
    baseline: BaselineId  # that it stands on; a baseline names itself
    level: Level  # 0: a baseline
    restart: Restart
    classification: Classification = "security"
    components: Annotated[tuple[ReleasedComponent, ...], msgspec.Meta(max_length=20_000)] = ()
    advisories: Annotated[tuple[Advisory, ...], msgspec.Meta(max_length=20_000)] = ()
    restart_note: Text = ""  # when it restarts, if that is conditional
    notes: Text = ""  # for humans
    withdrawn: Withdrawal | None = None
    kb: KnowledgeBaseId = ""
    build: BuildText = ""  # that a Windows device shows afterwards; "": none, or not known
    build_inferred: bool = False  # the source gives it for a sister version only
    month_only: bool = False  # the source gives no day; `date` is the earliest possible one
    confidence: Confidence = "high"  # how sure the record is of it
    source: Text = ""


class PatchDay(Fact, frozen=True, kw_only=True):
    """The nth weekday of a month, and days after it: the second Tuesday is (2, 1)."""

    nth: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    weekday: Annotated[int, msgspec.Meta(ge=0, le=6)] = 1  # Monday is 0
    offset_days: Annotated[int, msgspec.Meta(ge=-7, le=21)] = 0


class Product(Fact, frozen=True, kw_only=True):
    """What releases are for. The calendar only plans; what is recorded of a release decides."""

    name: ProductName
    title: ShortText
    platform: Literal["linux", "windows"] = "linux"
    tracks: Annotated[tuple[Track, ...], msgspec.Meta(min_length=1, max_length=2)] = (
        "hotpatch", "standard",
    )  # fmt: skip
    baseline_months: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...],
        msgspec.Meta(min_length=1, max_length=12),
    ] = (1, 4, 7, 10)
    patch_day: PatchDay = PatchDay()
    windows_build: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] = (
        0  # CurrentBuild; 0: not Windows
    )
    upgrades_to: Annotated[tuple[ProductName, ...], msgspec.Meta(max_length=64)] = ()


class Position(NamedTuple):
    """Where a device stands. A tuple, because fleets have many and they are dictionary keys."""

    product: str
    track: Track
    baseline: str  # "": not known
    level: int  # on that track since that baseline
    enrolled: bool = True  # wants the hotpatch track, whichever it is on
