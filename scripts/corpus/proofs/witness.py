"""What the kernel says about a daemon: that its processes are the same ones, and that they hold the
same connections. Read from /proc and nothing else; neither the daemon nor its clients are asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Witness:
    processes: frozenset[tuple[int, int]]  # PID and start time: a PID given anew has another one
    connections: frozenset[tuple[int, int]]  # PID and the kernel's number of an established socket

    @classmethod
    def of(cls, pids: Iterable[int]) -> Witness:
        pids = tuple(pids)
        return cls(
            frozenset((pid, _start_time(pid)) for pid in pids),
            frozenset((pid, inode) for pid in pids for inode in _connections(pid)),
        )

    def missing(self, now: Witness) -> Iterator[str]:
        """What was there, and is no more. What came in addition is nobody's loss."""
        if gone := self.processes - now.processes:
            yield f"{len(gone)} of {len(self.processes)} processes are gone"
        if lost := self.connections - now.connections:
            yield f"{len(lost)} of {len(self.connections)} connections are lost"

    def lasting(self, later: Witness) -> Witness:
        """Without what was only there for a moment."""
        return Witness(self.processes & later.processes, self.connections & later.connections)


def _start_time(pid: int) -> int:
    """Clock ticks since boot; -1 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return -1


def _connections(pid: int) -> frozenset[int]:
    try:
        table = Path(f"/proc/{pid}/net/tcp").read_text()  # of the process's network namespace
        return established(table) & frozenset(_sockets(Path(f"/proc/{pid}/fd")))
    except OSError:
        return frozenset()


def established(table: str) -> frozenset[int]:
    """The sockets of connections, in the kernel's own table."""
    rows = (line.split() for line in table.splitlines()[1:])
    return frozenset(int(row[9]) for row in rows if len(row) > 9 and row[3] == _ESTABLISHED)


def _sockets(folder: Path) -> Iterator[int]:
    for link in folder.iterdir():
        try:
            match = _SOCKET.fullmatch(str(link.readlink()))
        except OSError:  # closed meanwhile
            continue
        if match:
            yield int(match[1])
