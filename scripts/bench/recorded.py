"""Figures of peers that no registry offers: recorded earlier on a machine like this one.

They were measured once, by hand, on a shared machine with two cores; they are printed beside the
figures of a run and never take part in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recorded:
    tool: str
    wall_ms: str  # 1/16/200 threads
    pause_ms_1: str
    pause_ms_16: str
    pause_ms_200: str
    memory: str
    call_ns: str  # the unpatched call took 4.5


RECORDED = (
    Recorded(
        "libcare (mended to run on Debian 12)", "17/27/263", "1.9 [1.5]", "13 [11]", "235 [228]",
        "0.1 MB", "4.5",
    ),
    Recorded(
        "libpulp, no stack check", "17/16/23", "4.3 [2.6]", "3.8 [1.9]", "6.0 [4.8]",
        "0.54 MB, stays after revert", "4.6; malloc 4 times slower always",
    ),
    Recorded(
        "libpulp with its stack check", "20/24/135", "3.2", "11", "121", "0.6 MB", "4.5",
    ),
)  # fmt: skip
