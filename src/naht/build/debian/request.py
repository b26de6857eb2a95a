"""What a user asks of the Debian builder, and what is answered. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from naht.build.debian.change_job import CopyNote, ObjectChange
from naht.hotpatch.manifest import AuthorsPatch, Severity

DEFAULT_CACHE = Path("/var/cache/naht/build")


@dataclass(frozen=True)
class DebianRequest:
    """From one version of a source package to a newer one; with `patches` or `cves` only those."""

    source: str
    from_version: str
    to_version: str
    output: Path
    patches: tuple[str, ...] = ()
    cves: tuple[str, ...] = ()
    cache: Path = DEFAULT_CACHE
    jobs: int = 2
    in_place: bool = False  # with this host's tools and packages instead of a clean root
    id: str = ""  # the beginning of the hotpatches' ids; "": source and version
    advisories: tuple[str, ...] = ()  # (): the CVEs that the changelog or the patches name
    severity: Severity = "unknown"
    level: int = 0  # 0: how many versions lie between
    supersedes: tuple[str, ...] = ()
    allow: frozenset[str] = frozenset()  # refusals that the author overrides, as "kind:name"
    authors_patches: tuple[Path, ...] = ()  # in place of what the distribution changed
    author: str = ""  # of these; "": as they say themselves


class Reference(msgspec.Struct, frozen=True):
    """How far the rebuilt object is the shipped one."""

    name: str  # "binarypackage:path"
    verdict: str  # as in `reference`
    differences: tuple[str, ...] = ()


class DebianResult(msgspec.Struct, frozen=True, kw_only=True):
    """Also written as result.json into `directory`; paths of `objects` are relative to it."""

    source: str
    from_version: str
    to_version: str
    directory: str
    how: str  # where the older state came from, for people
    patches: tuple[str, ...]  # (): everything between the versions
    advisories: tuple[str, ...]
    objects: tuple[ObjectChange, ...]  # that changed and ship
    copies: tuple[CopyNote, ...]  # where else the changed code is
    references: tuple[Reference, ...]  # of the objects that changed
    unread: tuple[str, ...]  # changed files that enter no compilation
    unchanged: tuple[str, ...]  # shipped objects that were linked anew and have the same code
    seconds: float
    authors_patches: tuple[AuthorsPatch, ...] = ()  # what was built in place of `patches`
