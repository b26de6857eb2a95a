"""The reference proof: how far rebuilt objects are what the distribution ships, one by one.

    prove_reference(shipped, rebuilt, records) -> tuple[ReferenceProof, ...]
        shipped: what the archive has; rebuilt: what our build of the same source made;
        records: of that build. One proof for each shipped object, in its order.
    compare_objects(rebuilt, shipped, named_by) -> Comparison
        Two files; `named_by` is the rebuilt one with its symbols.

    identical   the same build-id, and the same content wherever a process loads any
    same-code   the same but for the build-id: only debug information, which it covers, differs
    partly      the same layout; what differs is named
    shifted     another layout; what differs is named
    missing     no such object was rebuilt, or no link that was seen made it

Refuses nothing: what a hotpatch touches or uses is proved when it is made (`native.running`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from naht.build.debian.origins import Origin, find_origins, linked_file
from naht.build.debian.shipped import Shipped, ShippedObject
from naht.build.native.differing_functions import differing_functions
from naht.build.native.loaded_content import (
    DifferingRange,
    Names,
    differing_ranges,
    layout_differences,
)
from naht.build.native.recording import Invocation
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import HostileInputError

Verdict = Literal["identical", "same-code", "partly", "shifted", "missing"]

MAX_DIFFERENCES = 1000
_RELA_SIZE, _WORD = 24, 8
_NAMED = 8


@dataclass(frozen=True)
class Comparison:
    verdict: Verdict
    differences: tuple[str, ...] = ()  # functions, data, "section+offset" of what has no name


@dataclass(frozen=True)
class ReferenceProof:
    shipped: ShippedObject
    comparison: Comparison
    origin: Origin
    note: str = ""  # why it is missing; what was done to it after its link

    @property
    def verdict(self) -> Verdict:
        return self.comparison.verdict

    @property
    def reference(self) -> Path | None:
        """The linked result with symbols that stands for the shipped object."""
        return linked_file(self.origin.link) if self.origin.link else None


def prove_reference(
    shipped: Shipped, rebuilt: Shipped, records: Sequence[Invocation]
) -> tuple[ReferenceProof, ...]:
    by_name = {thing.name: thing for thing in rebuilt.objects}
    origins = find_origins(by_name.values(), records)
    return tuple(_prove(thing, by_name.get(thing.name), origins) for thing in shipped.objects)


def _prove(
    shipped: ShippedObject, rebuilt: ShippedObject | None, origins: Mapping[str, Origin]
) -> ReferenceProof:
    if rebuilt is None:
        note = "the rebuilt package has no such object"
        return ReferenceProof(shipped, Comparison("missing"), Origin(()), note)
    origin = origins[shipped.name]
    if origin.link is None:
        found = compare_objects(rebuilt.file, shipped.file, rebuilt.file)
        note = f"no link that was seen made it; the rebuilt object is {found.verdict}"
        return ReferenceProof(shipped, Comparison("missing"), origin, note)
    linked = linked_file(origin.link)
    comparison = compare_objects(rebuilt.file, shipped.file, linked)
    return ReferenceProof(shipped, comparison, origin, _alteration(linked, rebuilt.file))


def _alteration(linked: Path, packaged: Path) -> str:
    """What tools did to an object between its link and its package, but for stripping it."""
    found = compare_objects(linked, packaged, linked)
    if found.verdict in ("identical", "same-code"):
        return ""
    return f"altered after its link: {', '.join(found.differences[:_NAMED])}"


def compare_objects(rebuilt: Path, shipped: Path, named_by: Path) -> Comparison:
    try:
        elves = [ElfFile(path.read_bytes()) for path in (rebuilt, shipped, named_by)]
        return _compare(*elves)
    except HostileInputError as error:
        return Comparison("shifted", (error.cause,))


def _compare(rebuilt: ElfFile, shipped: ElfFile, named_by: ElfFile) -> Comparison:
    if layout := layout_differences(rebuilt, shipped):
        functions = differing_functions(named_by, shipped)
        return Comparison("shifted", (*layout, *functions)[:MAX_DIFFERENCES])
    if ranges := differing_ranges(rebuilt, shipped):
        return Comparison("partly", _named(ranges, named_by))
    same_id = rebuilt.build_id is not None and rebuilt.build_id == shipped.build_id
    return Comparison("identical" if same_id else "same-code")


def _named(ranges: Sequence[DifferingRange], reference: ElfFile) -> tuple[str, ...]:
    names = Names(reference)
    found: dict[str, None] = {}
    for each in ranges:
        for start, end in _meant(each, reference):
            covering = names.covering(start, end)
            found.update(dict.fromkeys(covering or [_place(start, reference)]))
        if len(found) >= MAX_DIFFERENCES:
            break
    return tuple(found)


def _meant(each: DifferingRange, reference: ElfFile) -> list[tuple[int, int]]:
    """A dynamic relocation stands for the word that it fills."""
    section = reference.section_by_name.get(each.section)
    inside = section is not None and section.address <= each.start < section.address + section.size
    if section is None or not inside or section.type != c.SHT_RELA:
        return [(each.start, each.end)]
    first = (each.start - section.address) // _RELA_SIZE
    last = (each.end - 1 - section.address) // _RELA_SIZE
    entries = reference.relocations(section)[first : last + 1]
    return [(r.offset, r.offset + _WORD) for r in entries]


def _place(address: int, reference: ElfFile) -> str:
    for section in reference.sections:
        inside = section.address <= address < section.address + section.size
        if inside and section.flags & c.SHF_ALLOC and not section.flags & c.SHF_TLS:
            return f"{section.name}+{address - section.address:#x}"
    return f"{address:#x}"
