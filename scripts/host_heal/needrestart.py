"""Debian's needrestart, asked on the host: which processes it would have restarted, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scripts.host_heal.host import Host

_USES = re.compile(r"\[main\] #(\d+) uses (obsolete|deleted|non-existing)(?: binary)? (.+)")


@dataclass(frozen=True)
class Answer:
    found: dict[int, str]  # PID → the first file that made it so
    seconds: float
    cpu_seconds: float


def ask(host: Host) -> Answer:
    """Libraries and programs only, listing only."""
    done = host.run("needrestart", "-v", "-v", "-l", "-r", "l", "-b")
    found: dict[int, str] = {}
    for line in done.errors.splitlines():
        if match := _USES.search(line):
            found.setdefault(int(match[1]), f"{match[2]} {match[3]}")
    return Answer(found, done.seconds, done.cpu_seconds)
