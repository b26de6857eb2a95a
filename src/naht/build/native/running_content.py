"""Whether something in the running binary is what the old build has at the same place: its bytes,
and the unnamed data that they refer to.

Strings and other literals may lie elsewhere in the running binary, as when a version string of
another length moves them: what counts is their content. Whatever has a name must be at the same
place. It refuses nothing: see `running`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.native.linked import LinkedView
from naht.build.native.meaning import Meanings
from naht.build.native.relocatable import Constant, Named, Place, Reference, Relocatable, Text
from naht.build.native.running_object import RunningObject, Slot
from naht.elf import constants as c
from naht.elf.file import ElfFile

_RELATIVE = frozenset({c.R_X86_64_PC32, c.R_X86_64_PLT32})
_ABSOLUTE = frozenset({c.R_X86_64_32, c.R_X86_64_32S, c.R_X86_64_64})


@dataclass(frozen=True, slots=True)
class Difference:
    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class _Input:
    """An input section of the old link."""

    address: int
    size: int
    path: Path
    section: int


class RunningContent:
    def __init__(self, old: LinkedView, running: RunningObject) -> None:
        self._old, self._running = old, running
        self._views: dict[Path, Relocatable] = {}
        self._meanings: dict[Path, Meanings] = {}
        self._seen: set[tuple[int, int]] = set()

    def slot_differences(self) -> list[str]:
        """Words that the dynamic linker fills with something else; where literals lie is left to
        the comparison of those that matter."""
        mine, theirs = (_fillings(o) for o in (RunningObject(self._old.path), self._running))
        differing = sorted(a for a in mine.keys() | theirs.keys() if mine.get(a) != theirs.get(a))
        return [
            f"the word at {address:#x} is filled with {_filling(theirs.get(address))}, not "
            f"{_filling(mine.get(address))}"
            for address in differing
        ]

    def difference(self, address: int, size: int) -> Difference | None:
        """The first one in [address, address + size)."""
        home = self._input_at(address, size)
        literals = list(self._literals(home, address, size)) if home else []
        mine, theirs = (
            bytearray(elf.read_address(address, size)) for elf in (self._old.elf, self._running.elf)
        )
        for reference, field in literals:
            for body in (mine, theirs):
                body[field - address : field - address + reference.size] = bytes(reference.size)
        if mine != theirs:
            at = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
            return Difference(at, f"{theirs[at]:02x}, not {mine[at]:02x}")
        if found := self._other_pointer(address, size, {field for _, field in literals}):
            return found
        for reference, field in literals:
            if home and (what := self._literal_difference(home, reference, field)):
                return Difference(field - address, what)
        return None

    def _other_pointer(self, address: int, size: int, literals: set[int]) -> Difference | None:
        """What the file holds where a relative relocation fills a word is of no meaning."""
        first = bisect_left(self._slot_addresses, address)
        for place in self._slot_addresses[first:]:
            if place >= address + size:
                break
            mine, theirs = self._old_slots[place], self._running_slots.get(place)
            if place not in literals and (theirs is None or theirs.addend != mine.addend):
                return Difference(place - address, "a pointer to something else")
        return None

    # --- where things are ----------------------------------------------------------------

    def _input_at(self, address: int, size: int) -> _Input | None:
        """None for what the linker made, and for common symbols."""
        at = bisect_right(self._inputs, address, key=lambda i: i.address) - 1
        found = self._inputs[at] if at >= 0 else None
        inside = found is not None and address + size <= found.address + found.size
        return found if inside else None

    @cached_property
    def _inputs(self) -> list[_Input]:
        found = []
        for (path, name), places in self._old.linked.placements.items():
            sections = [s.index for s in self._view(path).elf.sections if s.name == name]
            if len(sections) == len(places):
                found += [
                    _Input(place.address, place.size, path, section)
                    for section, place in zip(sections, places, strict=True)
                    if place.size and _is_mapped(self._view(path), section)
                ]
        return sorted(found, key=lambda i: i.address)

    def _view(self, path: Path) -> Relocatable:
        if path not in self._views:
            self._views[path] = Relocatable.load(path)
        return self._views[path]

    # --- literals ------------------------------------------------------------------------

    def _literals(self, home: _Input, address: int, size: int) -> Iterator[tuple[Reference, int]]:
        """References to unnamed read-only data, with the linked addresses of their fields."""
        view, start = self._view(home.path), address - home.address
        for reference in view.references_in(home.section, start, start + size):
            known = reference.type in _RELATIVE or reference.type in _ABSOLUTE
            if known and _is_literal(view, reference):
                field = home.address + reference.field
                if field + reference.size <= address + size:
                    yield reference, field

    def _literal_difference(self, home: _Input, reference: Reference, field: int) -> str:
        mine = self._target(self._old.elf, self._old_slots, reference, field)
        theirs = self._target(self._running.elf, self._running_slots, reference, field)
        target = reference.target
        match target:
            case Text(content, character, offset):
                return self._other_literal(content + bytes(character), theirs - offset)
            case Constant(content, offset):
                return self._other_literal(content, theirs - offset)
        if mine != theirs:
            return f"refers to {theirs:#x}, not {mine:#x}"
        assert isinstance(target, Place)  # noqa: S101  named things are no literals
        return self._other_place(home, reference, target, mine)

    def _other_literal(self, content: bytes, address: int) -> str:
        section = self._running.section_at(address)
        end = section.address + section.size if section else 0
        constant = section is not None and not section.flags & c.SHF_WRITE
        inside = constant and address + len(content) <= end
        if inside and self._running.read(address, len(content)) == content:
            return ""
        return f"refers to something else than {content[:40]!r}"

    def _other_place(self, home: _Input, reference: Reference, target: Place, address: int) -> str:
        """Unnamed data, as far as it may belong to the reference; literals in it in their turn."""
        view = self._view(home.path)
        limit = view.section(target.section).size
        start, end = 0, limit
        if 0 <= target.offset < limit:
            start, end = target.offset, self._end(home, reference, target)
        low = address + start - target.offset
        if (low, end - start) in self._seen:
            return ""
        self._seen.add((low, end - start))
        found = self.difference(low, end - start) if end > start else None
        return f"refers to data with another content at {low + found.offset:#x}" if found else ""

    def _end(self, home: _Input, reference: Reference, target: Place) -> int:
        view = self._view(home.path)
        if reference.use == "access":
            return min(target.offset + reference.width, view.section(target.section).size)
        if home.path not in self._meanings:
            self._meanings[home.path] = Meanings(view, str)
        owner = view.covering(home.section, reference.field)
        return self._meanings[home.path].piece_end(
            target.section, target.offset, owner.name if owner else ""
        )

    def _target(
        self, elf: ElfFile, slots: dict[int, Slot], reference: Reference, field: int
    ) -> int:
        raw = int.from_bytes(elf.read_address(field, reference.size), "little", signed=True)
        if reference.type in _RELATIVE:
            return field + raw + reference.trailing
        slot = slots.get(field)
        return slot.addend if slot and slot.type == c.R_X86_64_RELATIVE else raw

    @cached_property
    def _old_slots(self) -> dict[int, Slot]:
        return {slot.address: slot for slot in RunningObject(self._old.path).slots}

    @cached_property
    def _slot_addresses(self) -> list[int]:
        return sorted(self._old_slots)

    @cached_property
    def _running_slots(self) -> dict[int, Slot]:
        return {slot.address: slot for slot in self._running.slots}


def _is_mapped(view: Relocatable, index: int) -> bool:
    section = view.section(index)
    zeros_of_threads = section.type == c.SHT_NOBITS and section.flags & c.SHF_TLS
    return bool(section.flags & c.SHF_ALLOC) and not zeros_of_threads


def _is_literal(view: Relocatable, reference: Reference) -> bool:
    match reference.target:
        case Text() | Constant():
            return True
        case Place(section, _):
            return view.is_read_only(section) and not view.is_code(section)
        case Named():
            return False


def _fillings(thing: RunningObject) -> dict[int, tuple[object, ...]]:
    """Address of a word → what fills it; of what has no symbol the kind alone."""
    return {
        s.address: (s.type, s.symbol, s.version, s.addend if s.symbol else 0) for s in thing.slots
    }


def _filling(filling: tuple[object, ...] | None) -> str:
    if filling is None:
        return "nothing"
    return str(filling[1] or f"a relocation of type {filling[0]}")
