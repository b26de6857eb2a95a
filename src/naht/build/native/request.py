"""What a user asks of the native builder. No behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from naht.domain.package import ShippedVersion
from naht.hotpatch.manifest import Consistency, Severity

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BuildRequest:
    """Either `old` and `new` trees, or `old` (the source) and `patches`."""

    old: Path
    command: str  # run with `sh -c` in the copy of the tree: the user typed it
    object: str  # path of the built object, relative to the tree
    id: str
    new: Path | None = None
    patches: tuple[Path, ...] = ()
    running: Path | None = None  # the binary that runs, if it is not the build's own
    title: str = ""
    advisories: tuple[str, ...] = ()
    severity: Severity = "unknown"
    purl: str = ""
    level: int = 1
    supersedes: tuple[str, ...] = ()
    brings_to: tuple[ShippedVersion, ...] = ()
    consistency: Consistency | None = None  # None: judged from the change
    allow: frozenset[str] = frozenset()  # refusals that the author overrides, as "kind:name"
    keep: Path | None = None  # work directory that stays; None: temporary
