"""A view of one relocatable object (.o): its functions, its data, and what each relocation means.

Owns the translation from "section symbol plus addend" to the thing that the source names: a
symbol, a string literal, a mergeable constant, or a place in anonymous data. It compares and judges
nothing, and refuses (HostileInputError) tables that leave the file.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from naht.build.native.instructions import FieldUse, Use, field_uses
from naht.elf import constants as c
from naht.elf.file import ElfFile, Relocation, Section, Symbol, malformed

# Numbers without a constant, from the psABI: 13 PC16, 15 PC8, 26 GOTPC32, 28 GOTPCREL64, 29 GOTPC64
PC_RELATIVE = frozenset(
    {c.R_X86_64_PC32, c.R_X86_64_PLT32, c.R_X86_64_PC64, c.R_X86_64_GOTPCREL,
     c.R_X86_64_GOTPCRELX, c.R_X86_64_REX_GOTPCRELX, c.R_X86_64_GOTTPOFF, c.R_X86_64_TLSGD,
     c.R_X86_64_TLSLD, c.R_X86_64_GOTPC32_TLSDESC, 13, 15, 26, 28, 29}
)  # fmt: skip
# Also 3 GOT32, 27 GOT64, 30 GOTPLT64: the symbol is reached through a slot, never directly
THROUGH_GOT = frozenset(
    {c.R_X86_64_GOTPCREL, c.R_X86_64_GOTPCRELX, c.R_X86_64_REX_GOTPCRELX, c.R_X86_64_GOTTPOFF,
     c.R_X86_64_TLSGD, c.R_X86_64_TLSLD, c.R_X86_64_GOTPC32_TLSDESC, 3, 27, 28, 30}
)  # fmt: skip
# Also 12 16, 14 8, 25 GOTOFF64, 31 PLTOFF64, 33 SIZE64; types not listed have 4 bytes
FIELD_SIZE = {
    c.R_X86_64_NONE: 0, c.R_X86_64_TLSDESC_CALL: 0, c.R_X86_64_64: 8, c.R_X86_64_PC64: 8,
    c.R_X86_64_DTPMOD64: 8, c.R_X86_64_DTPOFF64: 8, c.R_X86_64_TPOFF64: 8, c.R_X86_64_TLSDESC: 16,
    12: 2, 13: 2, 14: 1, 15: 1, 25: 8, 27: 8, 28: 8, 29: 8, 30: 8, 31: 8, 33: 8,
}  # fmt: skip

NAMED_TYPES = frozenset({c.STT_NOTYPE, c.STT_OBJECT, c.STT_FUNC, c.STT_TLS, c.STT_GNU_IFUNC})
FUNCTION_TYPES = frozenset({c.STT_FUNC, c.STT_GNU_IFUNC})
MAX_ZEROS = 1 << 30
SPECIAL_SECTIONS = frozenset({c.SHN_UNDEF, c.SHN_ABS, c.SHN_COMMON})


@dataclass(frozen=True, slots=True)
class Named:
    """The address of a symbol plus `offset`; `symbol.section` tells whether it is defined here."""

    symbol: Symbol
    offset: int


@dataclass(frozen=True, slots=True)
class Text:
    """A place in a string literal: `content` without its terminator, `offset` mostly 0."""

    content: bytes
    character: int  # bytes per character, 1 for char
    offset: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A place in a mergeable constant of fixed size."""

    content: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a section that no symbol covers: jump tables, unnamed constants, literals."""

    section: int
    offset: int


Target = Named | Text | Constant | Place


@dataclass(frozen=True, slots=True)
class Reference:
    """One relocated field, understood.

    The field's value is computed so that it reaches `target`, counted from `trailing` bytes
    after the field's own address (PC-relative code; 0 elsewhere). To make the same field again
    for a symbol at the start of the target, use the addend `target.offset - trailing`.
    In data, a PC-relative field's place is relative to something only its reader knows
    (a jump table's entry is relative to the table's start): there `target` is symbol + addend.
    """

    relocation: Relocation
    field: int  # offset in its section
    size: int
    target: Target
    trailing: int
    use: Use
    width: int  # of an access, else 0

    @property
    def type(self) -> int:
        return self.relocation.type

    @property
    def pc_relative(self) -> bool:
        return self.relocation.type in PC_RELATIVE

    @property
    def through_got(self) -> bool:
        return self.relocation.type in THROUGH_GOT


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or datum that the object defines: [offset, offset + size) of its section."""

    name: str
    symbol: Symbol
    section: int  # SHN_COMMON for a common symbol, which has no section
    offset: int
    size: int

    @property
    def is_local(self) -> bool:
        return self.symbol.binding == c.STB_LOCAL

    @property
    def end(self) -> int:
        return self.offset + self.size


class Relocatable:
    """One ET_REL object. Everything is computed on first use and kept."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.path = path
        self.elf = ElfFile(data)
        if self.elf.type != c.ET_REL:
            raise malformed(f"{path} is not a relocatable object")
        self._references: dict[int, tuple[Reference, ...]] = {}
        self._contents: dict[int, bytes] = {}

    @classmethod
    def load(cls, path: Path) -> Relocatable:
        return cls(path.read_bytes(), path)

    @classmethod
    def empty(cls, path: Path) -> Relocatable:
        """An object without anything, to stand for a unit that exists on one side only."""
        header = struct.pack(
            "<16sHHIQQQIHHHHHH",
            c.ELF_MAGIC + bytes([c.ELFCLASS64, c.ELFDATA2LSB, 1]),
            c.ET_REL, c.EM_X86_64, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0,
        )  # fmt: skip
        return cls(header, path)

    @cached_property
    def functions(self) -> dict[str, Definition]:
        """Defined functions by symbol name; of several with one name, the first."""
        return self._definitions(self._is_function)

    @cached_property
    def data(self) -> dict[str, Definition]:
        """Defined named data by symbol name: objects, TLS variables, common symbols."""
        return self._definitions(self._is_datum)

    @cached_property
    def repeated_names(self) -> frozenset[str]:
        """Local names that several definitions share (only hand-written assembly and `ld -r`)."""
        seen: dict[str, tuple[int, int]] = {}
        repeated = set()
        for symbol in self.elf.symbols:
            if is_name(symbol) and self._is_defined(symbol):
                place = (symbol.section, symbol.value)
                if seen.setdefault(symbol.name, place) != place:
                    repeated.add(symbol.name)
        return frozenset(repeated)

    def section(self, index: int) -> Section:
        if not 0 <= index < len(self.elf.sections):
            raise malformed(f"section number {index} in {self.path}")
        return self.elf.sections[index]

    def is_read_only(self, index: int) -> bool:
        """Read-only once the dynamic linker is done: .rodata and .data.rel.ro."""
        section = self.section(index)
        return bool(section.flags & c.SHF_ALLOC) and (
            not section.flags & c.SHF_WRITE or section.name.startswith(".data.rel.ro")
        )

    def is_code(self, index: int) -> bool:
        return bool(self.section(index).flags & c.SHF_EXECINSTR)

    def content(self, index: int) -> bytes:
        """A section's bytes; SHT_NOBITS gives the zeros that it stands for."""
        if index not in self._contents:
            section = self.section(index)
            zeros = section.type == c.SHT_NOBITS
            self._contents[index] = (
                bytes(min(section.size, MAX_ZEROS)) if zeros else self.elf.section_bytes(section)
            )
        return self._contents[index]

    def definition_bytes(self, definition: Definition) -> bytes:
        if definition.section == c.SHN_COMMON:
            return b""
        return self.content(definition.section)[definition.offset : definition.end]

    def references(self, section: int) -> tuple[Reference, ...]:
        """The relocations that apply to a section, in order of their fields."""
        if section not in self._references:
            self._references[section] = self._understand(section)
        return self._references[section]

    def references_in(self, section: int, start: int, end: int) -> tuple[Reference, ...]:
        references = self.references(section)
        low = bisect_left(references, start, key=lambda r: r.field)
        return references[low : bisect_left(references, end, key=lambda r: r.field)]

    def references_of(self, definition: Definition) -> tuple[Reference, ...]:
        if definition.section == c.SHN_COMMON:
            return ()
        return self.references_in(definition.section, definition.offset, definition.end)

    def covering(self, section: int, offset: int) -> Symbol | None:
        """The named symbol that a place belongs to, if any: global before local, then first."""
        return self._section_names.get(section, _NO_NAMES).covering(
            offset, self.section(section).size
        )

    def raw_place(self, reference: Reference) -> tuple[int, int] | None:
        """(section, offset) that a reference reaches here; None for what is defined elsewhere."""
        symbol = self.elf.symbols[reference.relocation.symbol]
        if symbol.section in SPECIAL_SECTIONS:
            return None
        return symbol.section, symbol.value + reference.relocation.addend + reference.trailing

    @cached_property
    def rank_among_namesakes(self) -> tuple[int, ...]:
        """For each section how many sections of its name come before it."""
        counts: Counter[str] = Counter()
        ranks = []
        for section in self.elf.sections:
            ranks.append(counts[section.name])
            counts[section.name] += 1
        return tuple(ranks)

    @cached_property
    def comdat(self) -> dict[int, str]:
        """Section index → signature symbol of the COMDAT group that it is in."""
        signatures: dict[int, str] = {}
        for group in self.elf.sections:
            if group.type == c.SHT_GROUP and group.info < len(self.elf.symbols):
                signature = self.elf.symbols[group.info]
                name = signature.name or self.section(signature.section).name
                raw = self.elf.section_bytes(group)
                for at in range(4, len(raw) - 3, 4):
                    signatures[int.from_bytes(raw[at : at + 4], "little")] = name
        return signatures

    def _is_defined(self, symbol: Symbol) -> bool:
        return symbol.section == c.SHN_COMMON or 0 < symbol.section < len(self.elf.sections)

    def _is_function(self, symbol: Symbol) -> bool:
        in_code = symbol.section < len(self.elf.sections) and self.is_code(symbol.section)
        return symbol.type in FUNCTION_TYPES or (symbol.type == c.STT_NOTYPE and in_code)

    def _is_datum(self, symbol: Symbol) -> bool:
        return not self._is_function(symbol)

    def _definitions(self, wanted: Callable[[Symbol], bool]) -> dict[str, Definition]:
        found: dict[str, Definition] = {}
        for symbol in self.elf.symbols:
            if is_name(symbol) and self._is_defined(symbol) and wanted(symbol):
                found.setdefault(symbol.name, self._definition(symbol))
        return found

    def _definition(self, symbol: Symbol) -> Definition:
        if symbol.section == c.SHN_COMMON:  # st_value is an alignment there (gABI)
            return Definition(symbol.name, symbol, c.SHN_COMMON, 0, symbol.size)
        limit = self.section(symbol.section).size
        if symbol.value + symbol.size > limit:
            raise malformed(f"symbol {symbol.name} leaves its section in {self.path}")
        size = symbol.size or self._unsized_extent(symbol, limit)
        return Definition(symbol.name, symbol, symbol.section, symbol.value, size)

    def _unsized_extent(self, symbol: Symbol, limit: int) -> int:
        """Assembly often gives no size: such a symbol extends to the next one."""
        return self._section_names[symbol.section].next_start(symbol.value, limit) - symbol.value

    @cached_property
    def _section_names(self) -> dict[int, _Names]:
        by_section: dict[int, list[Symbol]] = {}
        for symbol in self.elf.symbols:
            if is_name(symbol) and symbol.section not in SPECIAL_SECTIONS:
                by_section.setdefault(symbol.section, []).append(symbol)
        return {index: _Names(symbols) for index, symbols in by_section.items()}

    def _understand(self, index: int) -> tuple[Reference, ...]:
        relocations = sorted(
            self.elf.relocations_by_section.get(index, ()), key=lambda r: (r.offset, r.type)
        )
        uses = self._uses(index, relocations) if self.is_code(index) else {}
        size = self.section(index).size
        for relocation in relocations:
            if relocation.offset + FIELD_SIZE.get(relocation.type, 4) > size:
                raise malformed(f"a relocation leaves {self.section(index).name} in {self.path}")
        return tuple(self._reference(r, uses.get(r.offset)) for r in relocations)

    def _uses(self, index: int, relocations: list[Relocation]) -> dict[int, FieldUse]:
        """Decodes the section from each named symbol on, so that data between can't derail it."""
        code = self.content(index)
        names = self._section_names.get(index, _NO_NAMES)
        starts = sorted({0, *names.starts, len(code)})
        fields = [r.offset for r in relocations]
        uses: dict[int, FieldUse] = {}
        for start, end in pairwise(starts):
            low, high = bisect_left(fields, start), bisect_left(fields, end)
            if low < high:
                uses.update(field_uses(code[start:end], start, fields[low:high]))
        return uses

    def _reference(self, relocation: Relocation, use: FieldUse | None) -> Reference:
        if relocation.symbol >= len(self.elf.symbols):
            raise malformed(f"a relocation names no symbol in {self.path}")
        trailing = 0
        if use and relocation.type in PC_RELATIVE:
            trailing = use.end - relocation.offset
        target = self.target(relocation, relocation.addend + trailing)
        size = FIELD_SIZE.get(relocation.type, 4)
        return Reference(
            relocation, relocation.offset, size, target, trailing,
            use.use if use else "data", use.width if use else 0,
        )  # fmt: skip

    def target(self, relocation: Relocation, offset: int) -> Target:
        """What lies `offset` bytes after the symbol that a relocation names."""
        symbol = self.elf.symbols[relocation.symbol]
        if is_name(symbol) or symbol.section in SPECIAL_SECTIONS:
            return Named(symbol, offset)
        section = self.section(symbol.section)
        anchor = None if symbol.type == c.STT_SECTION else symbol.value
        place = symbol.value + offset
        if anchor is None and (named := self.covering(section.index, place)):
            return Named(named, place - named.value)
        if section.flags & c.SHF_MERGE and section.index not in self.elf.relocations_by_section:
            return self._merged(section, place, place if anchor is None else anchor)
        return Place(section.index, place)

    def _merged(self, section: Section, place: int, anchor: int) -> Target:
        """The linker moves mergeable entities one by one, so only their content has meaning."""
        raw, unit = self.content(section.index), section.entry_size or 1
        if not 0 <= anchor < len(raw):
            return Place(section.index, place)
        if section.flags & c.SHF_STRINGS:
            end = anchor
            while end < len(raw) and any(raw[end : end + unit]):
                end += unit
            return _shortened(Text(raw[anchor:end], unit, place - anchor))
        start = anchor - anchor % unit
        return Constant(raw[start : start + unit], place - start)


def _shortened(text: Text) -> Text:
    """A pointer into a literal sees only what follows, so "ab"+1 and "b" are the same."""
    if 0 < text.offset <= len(text.content) and text.offset % text.character == 0:
        return Text(text.content[text.offset :], text.character, 0)
    return text


def is_name(symbol: Symbol) -> bool:
    """A symbol that the source named, or the compiler for it. `.L…` labels are the assembler's
    own, and Clang numbers its exception tables by their order."""
    is_label = symbol.name.startswith((".L", "GCC_except_table"))
    return bool(symbol.name) and symbol.type in NAMED_TYPES and not is_label


class _Names:
    """The named symbols of one section, ordered for look-up by place."""

    def __init__(self, symbols: list[Symbol]) -> None:
        self.symbols = sorted(
            symbols,
            key=lambda s: (s.value, s.size, s.binding != c.STB_LOCAL, -s.index),
        )
        self.starts = [s.value for s in self.symbols]

    def covering(self, offset: int, section_size: int) -> Symbol | None:
        for at in range(bisect_right(self.starts, offset) - 1, -1, -1):
            symbol = self.symbols[at]
            if symbol.value == offset or offset < symbol.value + symbol.size:
                return symbol
        return self._sole(section_size)

    def _sole(self, section_size: int) -> Symbol | None:
        """A datum with a section of its own also owns the places before and after it: compilers
        take `array - 4` and `array + size` as bases and ends of loops."""
        if not self.symbols:
            return None
        last = self.symbols[-1]
        return last if last.value == 0 and last.size == section_size else None

    def next_start(self, start: int, limit: int) -> int:
        at = bisect_right(self.starts, start)
        return self.starts[at] if at < len(self.starts) else limit


_NO_NAMES = _Names([])
