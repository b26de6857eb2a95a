"""What was seen while a hole was closed in a daemon that serves clients. Facts, and whether they
amount to a proof."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Seen(msgspec.Struct):
    """What the same harmless question showed, in this order. `new`: an unpatched new build."""

    old: str = ""
    patched: str = ""
    reverted: str = ""
    again: str = ""
    new: str = ""

    @property
    def closed(self) -> bool:
        return self.old != self.patched and self.patched == self.again == self.new

    @property
    def opened_by_revert(self) -> bool:
        return self.old == self.reverted


class Telling(msgspec.Struct):
    """One proof. `while_naht_worked`: answered during the two applies and the revert."""

    package: str
    version: str
    patch: str
    cves: list[str]
    daemon: str
    proof: str
    objects: list[str] = msgspec.field(default_factory=list)
    seen: Seen = msgspec.field(default_factory=Seen)
    functions: int = 0
    processes: int = 0
    threads: int = 0
    attempts: int = 0
    pause_ns: int = 0  # the longest of all processes and both applies
    hotpatch_bytes: int = 0
    memory_bytes: int = 0
    connections: int = 0  # held by the daemon from the start to the end
    requests: int = 0
    while_naht_worked: int = 0
    errors: int = 0
    worst_ms: float = 0.0
    problems: list[str] = msgspec.field(default_factory=list)
    finished: str = ""  # UTC

    @property
    def holds(self) -> bool:
        return not any(self.doubts())

    def doubts(self) -> Iterator[str]:
        """Everything that keeps this from being a proof."""
        yield from self.problems
        if not self.seen.closed:
            yield f"the hole does not close: {self.seen}"
        if not self.seen.opened_by_revert:
            yield f"reverted, it does not answer as before: {self.seen}"
        if self.errors:
            yield f"clients saw {self.errors} errors"
        if not self.while_naht_worked:
            yield "no client was served while naht worked"


class Kept:
    """One document per proof, so that a table can be made of runs at different times."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, telling: Telling) -> None:
        name = f"{telling.package}-{telling.patch}-{telling.proof}".replace("/", "%")
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{name}.json"
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(telling), indent=1))
        draft.replace(path)

    def all(self) -> Iterator[Telling]:
        for path in sorted(self._directory.glob("*.json")):
            yield msgspec.json.decode(path.read_bytes(), type=Telling)
