"""Which of two builds or positions is newer. Pure.

Refuses to compare over products or tracks: in one month the hotpatch track has the lower build
number and the same security content, and build 26100 is a client's and a server's.
"""

from __future__ import annotations

from typing import NamedTuple

from naht.domain.release import Position, Track
from naht.errors import RefusedError
from naht.releases.record import ReleaseRecord


class BuildOnTrack(NamedTuple):
    product: str
    track: Track
    build: str


def build_number(build: str) -> tuple[int, int]:
    """`26100.6905` as numbers: CurrentBuild and UBR."""
    major, _, revision = build.partition(".")
    return int(major), int(revision)


def compare_builds(one: BuildOnTrack, other: BuildOnTrack) -> int:
    """Below, equal to or above 0, as `one` is older than, the same as or newer than `other`."""
    _refuse_other_track(one.product, one.track, other.product, other.track)
    first, second = build_number(one.build), build_number(other.build)
    return (first > second) - (first < second)


def compare_positions(one: Position, other: Position, record: ReleaseRecord) -> int:
    """The same for devices. At a baseline the tracks are the same, so it compares with both."""
    if one.level and other.level and one.baseline == other.baseline:
        _refuse_other_track(one.product, one.track, other.product, other.track)
    if one.product != other.product:
        _refuse_other_track(one.product, one.track, other.product, other.track)
    first, second = _place(one, record), _place(other, record)
    return (first > second) - (first < second)


def _place(position: Position, record: ReleaseRecord) -> tuple[int, int]:
    rank = record.rank.get(position.baseline)
    if rank is None:
        raise RefusedError(
            "baseline-unknown",
            f"{position.baseline or 'An unrecorded baseline'} is not in the record of "
            f"{record.product.name}.",
            "Give the baseline's release id, or add it to the record.",
        )
    return rank, position.level


def _refuse_other_track(product: str, track: Track, other: str, other_track: Track) -> None:
    if product != other:
        raise RefusedError(
            "other-product",
            f"{product} and {other} have builds of their own.",
            "Compare builds of one product only.",
        )
    if track != other_track:
        raise RefusedError(
            "other-track",
            f"Numbers of the {track} and the {other_track} track of {product} say nothing about "
            "each other.",
            "Compare within one track, or by the security content of the releases.",
        )
