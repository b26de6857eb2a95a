"""What a device takes next, and how often it restarts for that. Pure, and small enough for fleets.

`decide` compares only what can be compared: levels on one baseline of one track, and the order of
recorded baselines. It refuses to guess: what the record does not know is held, not offered.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from naht.domain.release import Position, Release, Track
from naht.releases.record import Frontier, ReleaseRecord

Action = Literal["none", "hotpatch", "baseline", "standard", "go-back", "hold", "unknown"]
Reason = Literal[
    "up-to-date", "newer-hotpatch", "missed-hotpatches", "missed-baseline", "back-on-track",
    "off-track", "newer-standard", "left-the-track", "withdrawn", "baseline-withdrawn",
    "ahead-of-record", "baseline-unknown", "product-unknown", "nothing-recorded",
]  # fmt: skip


class NextStep(NamedTuple):
    """`releases` in the order in which they are taken; the last one is where it leads."""

    action: Action
    reason: Reason
    releases: tuple[Release, ...] = ()
    missed: int = 0  # releases in between that the device never had and need not take
    back_by_restart: bool = False  # of `go-back`

    @property
    def restarts(self) -> int:
        if self.action == "go-back":
            return int(self.back_by_restart)
        return sum(release.restart == "needed" for release in self.releases)

    @property
    def may_restart(self) -> bool:
        """A restart depends on the device; `restart_note` of the release says on what."""
        return any(release.restart == "conditional" for release in self.releases)


UP_TO_DATE = NextStep("none", "up-to-date")


def decide(position: Position, frontier: Frontier) -> NextStep:
    rank = frontier.rank.get(position.baseline)
    if frontier.baseline is None or rank is None:
        return _unplaced(frontier)
    if rank > frontier.baseline_rank:
        return NextStep("hold", _why_beyond(position, frontier))
    if not (position.enrolled and frontier.has_hotpatches):
        return _without_hotpatches(position, rank, frontier)
    if position.track == "standard" and position.level:
        return _off_the_track(position, rank, frontier)
    return _on_the_track(position, rank, frontier)


def decide_all(
    positions: Iterable[Position], records: Mapping[str, ReleaseRecord], today: datetime.date
) -> Iterator[NextStep]:
    """One step for each position, in order. Devices that stand alike are decided once."""
    frontiers: dict[str, Frontier | None] = {}
    known: dict[Position, NextStep] = {}
    for position in positions:
        step = known.get(position)
        if step is None:
            if position.product not in frontiers:
                record = records.get(position.product)
                frontiers[position.product] = record.frontier(today) if record else None
            frontier = frontiers[position.product]
            step = decide(position, frontier) if frontier else _NO_PRODUCT
            known[position] = step
        yield step


_NO_PRODUCT = NextStep("unknown", "product-unknown")


def _unplaced(frontier: Frontier) -> NextStep:
    if frontier.baseline is None:
        return NextStep("unknown", "nothing-recorded")
    return _take_baseline(frontier, "baseline-unknown")


def _take_baseline(frontier: Frontier, reason: Reason) -> NextStep:
    """A baseline holds everything before it, so it goes on any device; then the newest hotpatch."""
    assert frontier.baseline is not None  # noqa: S101  (decide has asked)
    follows = frontier.hotpatches if frontier.has_hotpatches else frontier.standards
    return NextStep("baseline", reason, (frontier.baseline, *follows[-1:]))


def _on_the_track(position: Position, rank: int, frontier: Frontier) -> NextStep:
    if rank < frontier.baseline_rank:
        return _take_baseline(frontier, "missed-baseline")
    if missed := _missed(position.level, frontier.hotpatches):
        reason: Reason = "missed-hotpatches" if missed > 1 else "newer-hotpatch"
        return NextStep("hotpatch", reason, frontier.hotpatches[-1:], missed - 1)
    return _at_the_top(position, "hotpatch", frontier) or UP_TO_DATE


def _off_the_track(position: Position, rank: int, frontier: Frontier) -> NextStep:
    """Only a later baseline leads back; until then, standard updates with their restarts."""
    if rank < frontier.baseline_rank:
        return _take_baseline(frontier, "back-on-track")
    return _newest_standard(position, frontier, "off-track", NextStep("none", "off-track"))


def _without_hotpatches(position: Position, rank: int, frontier: Frontier) -> NextStep:
    """Not in the programme: the newest standard update, which a baseline is, too."""
    newest = frontier.standards[-1:] or (frontier.baseline,)
    if rank < frontier.baseline_rank and newest[0]:
        return NextStep("standard", "newer-standard", (newest[0],))
    if position.track == "hotpatch" and position.level:
        return _leave_the_track(frontier)
    return _newest_standard(position, frontier, "newer-standard", UP_TO_DATE)


def _leave_the_track(frontier: Frontier) -> NextStep:
    """Levels of two tracks can't be compared; the newest standard update holds them all, if any."""
    if frontier.standards:
        return NextStep("standard", "left-the-track", frontier.standards[-1:])
    return NextStep("none", "left-the-track")


def _newest_standard(
    position: Position, frontier: Frontier, reason: Reason, otherwise: NextStep
) -> NextStep:
    if missed := _missed(position.level, frontier.standards):
        return NextStep("standard", reason, frontier.standards[-1:], missed - 1)
    return _at_the_top(position, "standard", frontier) or otherwise


def _missed(level: int, releases: Sequence[Release]) -> int:
    """How many are beyond the level; the last is cumulative, so it alone is taken."""
    if not releases or releases[-1].level <= level:
        return 0
    return sum(release.level > level for release in releases)


def _at_the_top(position: Position, track: Track, frontier: Frontier) -> NextStep | None:
    """Nothing newer is good: is what the device has good, and recorded at all?"""
    if (track, position.baseline, position.level) in frontier.withdrawn:
        return _go_back(position, track, frontier)
    if position.level > frontier.top.get((track, position.baseline), 0):
        return NextStep("hold", "ahead-of-record")
    return None


def _go_back(position: Position, track: Track, frontier: Frontier) -> NextStep:
    """To the highest good level below; `releases` is empty when that is the bare baseline."""
    good = frontier.good.get((track, position.baseline), ())
    below = tuple(release for release in good if release.level < position.level)
    in_memory = track == "hotpatch" and frontier.reverts_in_memory
    return NextStep("go-back", "withdrawn", below[-1:], back_by_restart=not in_memory)


def _why_beyond(position: Position, frontier: Frontier) -> Reason:
    """It stands on a baseline that is recorded, and later than the newest good one."""
    is_withdrawn = ("hotpatch", position.baseline, 0) in frontier.withdrawn
    return "baseline-withdrawn" if is_withdrawn else "ahead-of-record"
