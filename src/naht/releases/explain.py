"""A next step in a sentence for people. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from naht.domain.release import Position, Product, Release
from naht.releases.next_step import NextStep, Reason
from naht.releases.plan import next_planned_baseline


def explain(step: NextStep, position: Position, product: Product, today: datetime.date) -> str:
    return _SENTENCES[step.reason](_Context(step, position, product, today))


def named(release: Release) -> str:
    return f"{release.id} ({release.kb})" if release.kb else release.id


def doubts(release: Release) -> list[str]:
    """What the reader should know of the record of a release, before relying on it."""
    found = []
    if release.confidence in {"low", "medium"}:
        found.append(
            f"The record is only {release.confidence} in confidence about {named(release)}."
        )
    if release.build_inferred:
        found.append(
            f"The source gives the build of {named(release)} for a sister version only; both have "
            "the same revision in every other row."
        )
    if "not confirmed" in release.notes:
        found.append(f"{named(release)}: {release.notes}.")
    return found


class _Context:
    def __init__(
        self, step: NextStep, position: Position, product: Product, today: datetime.date
    ) -> None:
        self.step = step
        self.position = position
        planned = next_planned_baseline(product, today)
        self.next_baseline = f"the next baseline, planned for {planned},"
        self.hotpatches = "hotpatch" in product.tracks and position.enrolled

    @property
    def last(self) -> str:
        return named(self.step.releases[-1])

    @property
    def restart(self) -> str:
        """Of the last release."""
        release = self.step.releases[-1]
        if release.restart == "conditional":
            return f"with a restart {release.restart_note}"
        return "with a restart" if release.restart == "needed" else "without a restart"

    @property
    def baseline_then(self) -> str:
        baseline, *then = self.step.releases
        text = f"{named(baseline)} with a restart"
        return f"{text}, then {self.last} {self.restart}" if then else text


def _up_to_date(c: _Context) -> str:
    if c.hotpatches:
        return f"It is up to date; {c.next_baseline} is the next restart."
    return "It is up to date."


def _missed_hotpatches(c: _Context) -> str:
    were = "one release" if c.step.missed == 1 else f"{c.step.missed} releases"
    return f"It missed {were}; {c.last} holds all of it, and is taken alone, {c.restart}."


def _off_track(c: _Context) -> str:
    text = f"It is off the hotpatch track; {c.next_baseline} is the way back."
    if not c.step.releases:
        return f"{text} Until then there is nothing to take."
    return f"{text} Until then it takes standard updates: now {c.last} {c.restart}."


def _left_the_track(c: _Context) -> str:
    if c.step.releases:
        return f"It is no longer enrolled: it takes the standard update {c.last} {c.restart}."
    return (
        "It is no longer enrolled, and no standard update has come since its baseline: nothing to "
        "take now."
    )


def _withdrawn(c: _Context) -> str:
    what = f"to {c.last}" if c.step.releases else f"to the bare baseline {c.position.baseline}"
    how = "with a restart" if c.step.back_by_restart else "in memory, without a restart"
    return f"What it has is withdrawn, and nothing newer is good: it goes back {what}, {how}."


_SENTENCES: dict[Reason, Callable[[_Context], str]] = {
    "up-to-date": _up_to_date,
    "newer-hotpatch": lambda c: f"It takes {c.last} {c.restart}.",
    "missed-hotpatches": _missed_hotpatches,
    "missed-baseline": lambda c: f"It missed a baseline: it takes {c.baseline_then}.",
    "back-on-track": lambda c: (
        f"A baseline brings it back on the hotpatch track: it takes {c.baseline_then}."
    ),
    "off-track": _off_track,
    "newer-standard": lambda c: f"It takes the standard update {c.last} {c.restart}.",
    "left-the-track": _left_the_track,
    "withdrawn": _withdrawn,
    "baseline-withdrawn": lambda c: (
        f"Its baseline {c.position.baseline} is withdrawn: nothing goes on top of it; it waits for "
        f"{c.next_baseline.rstrip(',')}."
    ),
    "ahead-of-record": lambda c: (
        "It is beyond what the record has for this day: nothing is offered until the record is "
        "brought up to date."
    ),
    "baseline-unknown": lambda c: (
        f"Its baseline ({c.position.baseline or 'not given'}) is not in the record. A baseline "
        f"goes on any device: it takes {c.baseline_then}."
    ),
    "product-unknown": lambda c: f"There is no record of {c.position.product}.",
    "nothing-recorded": lambda c: (
        f"No baseline of {c.position.product} is recorded for this day, so nothing can be said."
    ),
}
