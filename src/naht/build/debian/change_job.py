"""What passes between the two sides of the wall: the job that is sent into the clean root, and what
comes back of each object. No behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from naht.hotpatch.manifest import AuthorsPatch, Severity


class ShippedName(msgspec.Struct, frozen=True):
    name: str  # "binarypackage:usr/lib/…"
    file: str  # below the directory of shipped files


class ShippedArchive(msgspec.Struct, frozen=True):
    package: str
    path: str
    kind: str  # archive, relocatable
    file: str  # below the built package


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of all hotpatches of the change. `id`: the beginning of theirs."""

    id: str
    title: str = ""
    advisories: tuple[str, ...] = ()
    severity: Severity = "unknown"
    purl: str = ""
    level: int = 1
    supersedes: tuple[str, ...] = ()
    version: str = ""  # of the source, that the hotpatches bring to
    fixed: dict[str, str] = {}  # shipped name → build-id in that version, where it is known
    authors_patches: tuple[AuthorsPatch, ...] = ()


Allowed = Literal["allow_layout", "allow_data", "allow_constructor", "allow_ownership"]


class ChangeJob(msgspec.Struct, frozen=True, kw_only=True):
    tree: str  # where it was built, inside
    old: bool  # whether the side has a source tree of its own; else it is the base
    new: bool
    shipped: dict[str, tuple[ShippedName, ...]]  # by build-id of the base's object
    archives: tuple[ShippedArchive, ...] = ()  # static archives and relocatables that ship
    find_copies: bool = False
    command: str
    description: Told
    allow: dict[Allowed, frozenset[str]] = {}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ChangeJob:
        return msgspec.convert(raw, cls)


class RefusalText(msgspec.Struct, frozen=True):
    reason: str
    cause: str
    next_step: str
    where: str = ""


class CopyNote(msgspec.Struct, frozen=True):
    """Another place that holds changed code; no hotpatch of this result reaches it."""

    kind: str
    name: str
    shipped_as: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    note: str = ""


class ObjectChange(msgspec.Struct, kw_only=True):
    """One linked object that the change alters. Paths are relative to the result's directory.

    shipped_as: "binarypackage:path" of every place where hosts have it; empty: built, not shipped.
    build_id: of the old object. running_file: what a host runs. seconds: of comparing and emitting.
    """

    name: str
    shipped_as: tuple[str, ...]
    build_id: str
    old_file: str
    new_file: str
    running_file: str
    hotpatch: str | None = None
    refusal: RefusalText | None = None
    functions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class ChangeAnswer(msgspec.Struct, frozen=True):
    objects: tuple[ObjectChange, ...]
    copies: tuple[CopyNote, ...]
    unread: tuple[str, ...]  # changed files that no compilation read
    unchanged: tuple[str, ...]  # shipped objects that were linked anew and have the same code
