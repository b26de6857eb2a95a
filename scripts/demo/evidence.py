"""What the kernel says about a server: who it is, which connections it holds, what it maps.

Read from /proc and nothing else; neither the server nor naht is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = "01"


@dataclass(frozen=True)
class Process:
    pid: int
    start_time: int  # clock ticks since boot; a PID that was given anew has another one
    threads: int
    connections: frozenset[tuple[int, int]]  # (client's port, the kernel's inode of the socket)
    anonymous: int  # bytes that are mapped from no file and have no name


def look_at(pids: Iterable[int], port: int) -> tuple[Process, ...]:
    clients = _clients_by_inode(port)
    return tuple(_look_at_one(pid, clients) for pid in pids)


def connections(processes: Iterable[Process]) -> frozenset[tuple[int, int]]:
    return frozenset().union(*(process.connections for process in processes))


def identities(processes: Iterable[Process]) -> list[tuple[int, int]]:
    return [(process.pid, process.start_time) for process in processes]


def _look_at_one(pid: int, clients: dict[int, int]) -> Process:
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    held = {inode for inode in _socket_inodes(folder / "fd") if inode in clients}
    return Process(
        pid,
        int(fields[19]),
        int(fields[17]),
        frozenset((clients[inode], inode) for inode in held),
        _anonymous_bytes(folder / "maps"),
    )


def _socket_inodes(folder: Path) -> Iterable[int]:
    for link in folder.iterdir():
        try:
            name = str(link.readlink())
        except OSError:  # closed meanwhile
            continue
        if match := re.fullmatch(r"socket:\[(\d+)\]", name):
            yield int(match[1])


def _clients_by_inode(port: int) -> dict[int, int]:
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote, state, inode = fields[1], fields[2], fields[3], int(fields[9])
        if int(local.split(":")[1], 16) == port and state == ESTABLISHED:
            found[inode] = int(remote.split(":")[1], 16)
    return found


def _anonymous_bytes(file: Path) -> int:
    total = 0
    for line in file.read_text().splitlines():
        fields = line.split()
        if len(fields) == 5:
            start, end = (int(part, 16) for part in fields[0].split("-"))
            total += end - start
    return total
