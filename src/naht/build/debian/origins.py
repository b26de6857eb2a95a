"""Which recorded links made the objects in packages.

    find_origins(objects, records) -> {name of the object: Origin}
    Origin.links           all links with that very result, oldest first (libtool links again at
                           installation); empty: none was seen
    linked_file(link)      the copy of its result, with symbols
    names_by_link(origins) {id of a link: names of all objects with that result}

`objects` are those of the packages that the same build made: what the distribution ships is found
through the rebuilt object at its path, see `reference`. Refuses nothing; it judges no difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.debian.shipped import ShippedObject
from naht.build.native.recording import Invocation
from naht.build.native.units import code_view
from naht.domain.build_id import BuildId
from naht.elf.file import ElfFile
from naht.errors import HostileInputError

_BUILD_ID_NOTE = ".note.gnu.build-id"


@dataclass(frozen=True)
class Origin:
    links: tuple[Invocation, ...]

    @property
    def link(self) -> Invocation | None:
        return self.links[-1] if self.links else None


def find_origins(
    objects: Iterable[ShippedObject], records: Sequence[Invocation]
) -> Mapping[str, Origin]:
    index = _Links(records)
    return {thing.name: Origin(index.of(thing)) for thing in objects}


def names_by_link(origins: Mapping[str, Origin]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, origin in origins.items():
        for link in origin.links:
            found.setdefault(link.id, []).append(name)
    return {identity: tuple(names) for identity, names in found.items()}


def linked_file(link: Invocation) -> Path:
    """The copy of its result that was taken before anything stripped it."""
    return link.outputs[0].copy


class _Links:
    def __init__(self, records: Sequence[Invocation]) -> None:
        self._links = [r for r in records if r.kind == "linker" and r.succeeded and r.outputs]

    def of(self, thing: ShippedObject) -> tuple[Invocation, ...]:
        if thing.build_id is not None and (found := self._by_build_id.get(thing.build_id)):
            return tuple(found)
        return tuple(self._by_code.get(_code_digest(thing.file) or "", ()))

    @cached_property
    def _by_build_id(self) -> dict[BuildId, list[Invocation]]:
        found: dict[BuildId, list[Invocation]] = {}
        for link in self._links:
            if identity := _build_id(linked_file(link)):
                found.setdefault(identity, []).append(link)
        return found

    @cached_property
    def _by_code(self) -> dict[str, list[Invocation]]:
        found: dict[str, list[Invocation]] = {}
        for link in self._links:
            if digest := _code_digest(linked_file(link)):
                found.setdefault(digest, []).append(link)
        return found


def _build_id(file: Path) -> BuildId | None:
    try:
        return ElfFile(file.read_bytes()).build_id
    except HostileInputError:  # what a linker script makes need not be an ELF file
        return None


def _code_digest(file: Path) -> str | None:
    """Of what a process loads, but for the build-id, which a tool may have made anew."""
    digest = hashlib.sha256()
    try:
        view = [part for part in code_view(file.read_bytes()) if part[0] != _BUILD_ID_NOTE]
    except HostileInputError:
        return None
    for name, content in view:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest() if view else None
