"""The account under which the tools of a recorded build are run again.

Owns that one choice. A record, and all that it names, was written by the build: where that had less
rights than we have, its tools must not get ours. Refuses nothing; without a choice, tools run as we
do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

_chosen: list[int] = []


class Credentials(TypedDict, total=False):
    """For `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]


def run_tools_as(account: int) -> None:
    """From now on, in this process. Needs the rights of root."""
    _chosen[:] = [account]


def credentials() -> Credentials:
    if not _chosen:
        return {}
    return {"user": _chosen[0], "group": _chosen[0], "extra_groups": []}


def hand_over(directory: Path) -> None:
    """Tools may write into it."""
    if _chosen:
        os.chown(directory, _chosen[0], _chosen[0], follow_symlinks=False)
