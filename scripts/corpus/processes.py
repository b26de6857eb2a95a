"""What /proc says about processes: children, command lines, threads, files, and the bytes of one
object as they are in memory. Reads only."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from naht.live.native.discovery import inspect_process
from naht.live.native.procfs import read_maps, read_stat

_MOST_BYTES = 1 << 30


def children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    found = children(pid)
    for child in found:
        found += descendants(child)
    return list(dict.fromkeys(found))


def ancestors(pid: int) -> list[int]:
    found: list[int] = []
    while pid > 1:
        pid = read_stat(pid).parent
        found.append(pid)
    return found


def command_line(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@dataclass(frozen=True)
class Snapshot:
    """What must be as before once a hotpatch is gone again."""

    code: dict[tuple[int, int], str]  # range relative to the object → digest of its bytes
    threads: int
    files: frozenset[tuple[str, str]]
    foreign_code: frozenset[str]  # executable memory that belongs to no file

    @classmethod
    def of(cls, pid: int, build_id: str) -> Snapshot | None:
        """None: the process does not have the object mapped."""
        _, objects = inspect_process(pid)
        mine = [o for o in objects if str(o.build_id) == build_id]
        if not mine:
            return None
        code: dict[tuple[int, int], str] = {}
        maps = read_maps(pid)
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for m in maps:
                inside = any(o.start <= m.start < o.end for o in mine)
                if inside and "w" not in m.permissions and "r" in m.permissions:
                    raw = os.pread(memory.fileno(), min(m.end - m.start, _MOST_BYTES), m.start)
                    code[m.start, m.end] = hashlib.sha256(raw).hexdigest()
        own = frozenset(f"{m.start:x}-{m.end:x}" for m in maps if m.executable and m.anonymous)
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return cls(code, threads, frozenset(_files(pid)), own)

    def differences(self, now: Snapshot | None, *, quiet: bool) -> Iterator[str]:
        """`quiet`: the process itself did nothing meanwhile that opens files or starts threads."""
        if now is None:
            yield "the object is gone from memory"
            return
        if self.code != now.code:
            yield "code or constants are not as before, byte for byte"
        if now.foreign_code - self.foreign_code:
            yield "code of the hotpatch is still mapped"
        if quiet and now.threads != self.threads:
            yield f"there were {self.threads} threads, now {now.threads}"
        if quiet and now.files != self.files:
            yield f"open files changed: {sorted(now.files ^ self.files)[:4]}"


def _files(pid: int) -> Iterator[tuple[str, str]]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield entry.name, str(entry.readlink())
        except OSError:
            continue


def map_object(pid: int, build_id: str) -> bool:
    _, objects = inspect_process(pid)
    return any(str(o.build_id) == build_id for o in objects)
