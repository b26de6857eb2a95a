"""How many devices a core decides about in a minute; part of `make bench`, into docs/results/.

The fleet stands everywhere where the built-in Windows record lets a device stand, in any order, so
that no run of equal devices flatters the figure. `alone` decides each device anew.
"""

from __future__ import annotations

import argparse
import datetime
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from naht.domain.release import Position
from naht.releases.next_step import decide, decide_all
from naht.releases.record import ReleaseRecord, tracks_of
from naht.releases.windows.history import windows_records

CHECKOUT = Path(__file__).parents[2]
DEVICES = 1_000_000
AIM = 1_000_000  # a minute, on one core
SEED = 20261122


def main() -> int:
    options = _options()
    records = windows_records()
    today = datetime.date(2026, 11, 22)
    places = list(positions(records))
    fleet = random.Random(SEED).choices(places, k=options.devices)  # noqa: S311  (no secret)
    batch = per_minute(options.devices, lambda: batch_of(fleet, records, today))
    alone = per_minute(options.devices, lambda: each_of(fleet, records, today))
    text = report(len(places), options.devices, batch, alone)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    print(text)
    return 0


def positions(records: dict[str, ReleaseRecord]) -> Iterator[Position]:
    """After every release, enrolled or not."""
    for name, record in records.items():
        for release in record.releases:
            for track in tracks_of(release):
                for enrolled in (True, False):
                    yield Position(name, track, release.baseline, release.level, enrolled)


def batch_of(fleet: list[Position], records: dict[str, ReleaseRecord], today: datetime.date) -> int:
    return sum(step.restarts for step in decide_all(fleet, records, today))


def each_of(fleet: list[Position], records: dict[str, ReleaseRecord], today: datetime.date) -> int:
    frontiers = {name: record.frontier(today) for name, record in records.items()}
    return sum(decide(position, frontiers[position.product]).restarts for position in fleet)


def per_minute(devices: int, work: Callable[[], int]) -> float:
    """By CPU time: other jobs of the machine don't count, nor does waiting."""
    began = time.process_time()
    work()
    return devices / (time.process_time() - began) * 60


def report(places: int, devices: int, batch: float, alone: float) -> str:
    return f"""\
# Decisions per minute on one core

{devices:,} devices at {places} different places of five Windows products; CPU time for the next
step and its restarts; aim {AIM:,} a minute. Made by `make bench`.

| way | decisions a minute | times the aim |
|---|---|---|
| `decide_all`, the batch | {batch:,.0f} | {batch / AIM:,.0f} |
| `decide`, each device alone | {alone:,.0f} | {alone / AIM:,.0f} |
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument(
        "--output", type=Path, default=CHECKOUT / "docs" / "results" / "decisions.md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
