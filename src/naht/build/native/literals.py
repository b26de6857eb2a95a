"""String literals and mergeable constants: what a relocation means by one, and where the running
object has the same.

The linker moves such entities one by one and knows each by a relocation's symbol and addend alone,
so this does as GNU ld does (elf-bfd's merged sections): a label means the entity that it stands in,
a section symbol the entity at its addend. Old code of the same unit that uses an equal literal says
where the linker put it; bytes there that are not the literal's are not believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as Choice

from naht.build.compile_pair import Unit
from naht.build.native.old_object import OldObject
from naht.build.native.relocatable import SPECIAL_SECTIONS, Relocatable, is_name
from naht.elf import constants as c
from naht.elf.file import Relocation

_RELATIVE = frozenset({c.R_X86_64_PC32, c.R_X86_64_PLT32})
_ABSOLUTE = {c.R_X86_64_32: 4, c.R_X86_64_32S: 4, c.R_X86_64_64: 8}


@dataclass(frozen=True, slots=True)
class Literal:
    """One whole entity: a string with its terminator, or a constant."""

    content: bytes
    alignment: int
    kind: Choice["str", "cst"]


def literal_of(file: Relocatable, relocation: Relocation) -> tuple[Literal, int] | None:
    """The entity that a relocation is about, and the addend from its start that says the same."""
    symbol = file.elf.symbols[relocation.symbol]
    if symbol.section in SPECIAL_SECTIONS or is_name(symbol):
        return None
    section = file.section(symbol.section)
    if not section.flags & c.SHF_MERGE or section.index in file.elf.relocations_by_section:
        return None
    place = symbol.value + relocation.addend
    anchor = place if symbol.type == c.STT_SECTION else symbol.value
    raw, unit = file.content(section.index), section.entry_size or 1
    if not 0 <= anchor < len(raw):
        return None
    strings = section.flags & c.SHF_STRINGS
    start, end = (_string if strings else _constant)(raw, anchor, unit)
    found = Literal(raw[start:end], max(section.alignment, 1), "str" if strings else "cst")
    return found, place - start


def _string(raw: bytes, anchor: int, unit: int) -> tuple[int, int]:
    start = anchor - anchor % unit
    while start >= unit and any(raw[start - unit : start]):
        start -= unit
    end = start
    while end < len(raw) and any(raw[end : end + unit]):
        end += unit
    return start, end + unit


def _constant(raw: bytes, anchor: int, unit: int) -> tuple[int, int]:
    start = anchor - anchor % unit
    return start, start + unit


class OldLiterals:
    def __init__(self, old: OldObject) -> None:
        self._old = old
        self._known: dict[Unit, dict[Literal, int]] = {}

    def address(self, unit: Unit | None, literal: Literal) -> int | None:
        """Where the old code of a unit has that literal."""
        if unit is None:
            return None
        if unit not in self._known:
            self._known[unit] = self._read(unit)
        return self._known[unit].get(literal)

    def _read(self, unit: Unit) -> dict[Literal, int]:
        file = self._old.file(unit.plain)
        found: dict[Literal, int] = {}
        for index, relocations in file.elf.relocations_by_section.items():
            start = self._old.section_address(file, index)
            for relocation in relocations if start is not None else ():
                known = literal_of(file, relocation)
                if known and start is not None and known[0] not in found:
                    self._witness(found, *known, relocation, start + relocation.offset)
        return found

    def _witness(
        self, found: dict[Literal, int], literal: Literal, addend: int, relocation: Relocation,
        field: int,
    ) -> None:  # fmt: skip
        if relocation.type in _RELATIVE:
            raw = self._old.running.read(field, 4)
            address = field + int.from_bytes(raw, "little", signed=True) - addend
        elif relocation.type in _ABSOLUTE and self._old.running.is_fixed:
            raw = self._old.running.read(field, _ABSOLUTE[relocation.type])
            address = int.from_bytes(raw, "little") - addend
        else:
            return
        if address % literal.alignment == 0 and self._is_there(literal, address):
            found[literal] = address

    def _is_there(self, literal: Literal, address: int) -> bool:
        section = self._old.running.section_at(address)
        size = len(literal.content)
        return (
            section is not None
            and not section.flags & c.SHF_WRITE
            and section.type == c.SHT_PROGBITS
            and address + size <= section.address + section.size
            and self._old.running.read(address, size) == literal.content
        )
