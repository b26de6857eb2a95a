"""Collects the sections and symbols of a hotpatch image and writes them as one ET_REL file.

The order of bytes depends on the order of the calls alone: same calls, same bytes. It knows nothing
of what the sections mean, and refuses (ValueError, a defect of the caller) names given twice.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Literal

from naht.elf import constants as c
from naht.errors import BuildRefusedError

DraftKind = Literal["code", "constant", "data", "unloaded"]

LONGEST_NAME = 2000

_FLAGS = {
    "code": c.SHF_ALLOC | c.SHF_EXECINSTR,
    "constant": c.SHF_ALLOC,
    "data": c.SHF_ALLOC | c.SHF_WRITE,
    "unloaded": 0,
}
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_IDENTITY = c.ELF_MAGIC + bytes([c.ELFCLASS64, c.ELFDATA2LSB, 1]) + bytes(9)


@dataclass(frozen=True, slots=True)
class DraftRelocation:
    offset: int
    type: int
    symbol: str
    addend: int


@dataclass
class DraftSection:
    """`content` is empty and `zeros` the size for zero-filled data."""

    name: str
    kind: DraftKind
    alignment: int = 1
    content: bytearray = field(default_factory=bytearray)
    zeros: int = 0
    relocations: list[DraftRelocation] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.zeros or len(self.content)

    def append(self, piece: bytes, alignment: int = 1) -> int:
        """Adds `piece` at the next aligned place; says where."""
        self.alignment = max(self.alignment, alignment)
        self.content += bytes(-len(self.content) % alignment)
        at = len(self.content)
        self.content += piece
        return at


@dataclass(frozen=True, slots=True)
class DraftSymbol:
    name: str
    section: str
    value: int
    size: int
    is_function: bool


class Draft:
    """An image in the making."""

    def __init__(self) -> None:
        self.sections: dict[str, DraftSection] = {}
        self.symbols: dict[str, DraftSymbol] = {}
        self.undefined: dict[str, None] = {}  # in order of first use

    def free_name(self, wanted: str) -> str:
        """`wanted`, or, when a symbol has that name, a variant that is free.

        C++ has names of many thousands of bytes; their digest stands for the rest.
        """
        if len(wanted) > LONGEST_NAME:
            wanted = f"{wanted[:LONGEST_NAME]}.{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
        name, number = wanted, 2
        while name in self.symbols or name in self.undefined:
            name, number = f"{wanted}.naht{number}", number + 1
        return name

    def free_section_name(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.sections:
            name, number = f"{wanted}.naht{number}", number + 1
        return name

    def add_section(self, section: DraftSection) -> DraftSection:
        if section.name in self.sections:
            raise ValueError(f"section {section.name} exists")
        self.sections[section.name] = section
        return section

    def define(
        self, name: str, section: str, value: int, size: int, *, is_function: bool = False
    ) -> str:
        if name in self.symbols or name in self.undefined:
            raise ValueError(f"symbol {name} exists")
        self.symbols[name] = DraftSymbol(name, section, value, size, is_function)
        return name

    def declare(self, name: str) -> str:
        if name in self.symbols:
            raise ValueError(f"symbol {name} is defined")
        self.undefined[name] = None
        return name


def write_image(draft: Draft) -> bytes:
    """The ELF file: loaded sections, old code, relocation tables, symbols, names."""
    order = sorted(draft.sections.values(), key=lambda s: s.kind == "unloaded")
    index = {section.name: number for number, section in enumerate(order, 1)}
    related = [section for section in order if section.relocations]
    first_table = 1 + len(order)
    symtab = first_table + len(related)
    if symtab + 3 >= 0xFF00:
        raise BuildRefusedError(
            "too-large",
            f"The hotpatch would have {symtab + 3} sections, more than ELF numbers simply.",
            "Split the change into smaller ones.",
        )
    symbol_bytes, strings, local_count, numbers = _symbol_table(draft, index)
    rows = [_Row(s.name, _type(s), _FLAGS[s.kind], s.alignment, bytes(s.content), s.size)
            for s in order]  # fmt: skip
    rows += [_relocation_row(s, symtab, index[s.name], numbers) for s in related]
    rows.append(_Row(".symtab", c.SHT_SYMTAB, 0, 8, symbol_bytes, len(symbol_bytes),
                     symtab + 1, local_count, _SYM.size))  # fmt: skip
    rows.append(_Row(".strtab", c.SHT_STRTAB, 0, 1, strings, len(strings)))
    return _lay_out(rows)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    type: int
    flags: int
    alignment: int
    content: bytes
    size: int
    link: int = 0
    info: int = 0
    entry_size: int = 0


def _type(section: DraftSection) -> int:
    return c.SHT_NOBITS if section.zeros else c.SHT_PROGBITS


def _relocation_row(
    section: DraftSection, symtab: int, target: int, numbers: dict[str, int]
) -> _Row:
    raw = b"".join(
        _RELA.pack(r.offset, numbers[r.symbol] << 32 | r.type, r.addend)
        for r in sorted(section.relocations, key=lambda r: (r.offset, r.type))
    )
    return _Row(".rela" + section.name, c.SHT_RELA, c.SHF_INFO_LINK, 8, raw, len(raw),
                symtab, target, _RELA.size)  # fmt: skip


def _symbol_table(draft: Draft, index: dict[str, int]) -> tuple[bytes, bytes, int, dict[str, int]]:
    """Local symbols come before all others, as gABI wants; functions and imports are global."""
    local = [s for s in draft.symbols.values() if not s.is_function]
    functions = [s for s in draft.symbols.values() if s.is_function]
    names = [s.name for s in (*local, *functions)] + list(draft.undefined)
    strings, offsets = _string_table(names)
    table = bytearray(_SYM.size)
    for s in local:
        table += _SYM.pack(offsets[s.name], c.STT_OBJECT, 0, index[s.section], s.value, s.size)
    for s in functions:
        info = c.STB_GLOBAL << 4 | c.STT_FUNC
        table += _SYM.pack(offsets[s.name], info, 0, index[s.section], s.value, s.size)
    for name in draft.undefined:
        table += _SYM.pack(offsets[name], c.STB_GLOBAL << 4, 0, c.SHN_UNDEF, 0, 0)
    numbers = {name: number for number, name in enumerate(names, 1)}
    return bytes(table), strings, 1 + len(local), numbers


def _string_table(names: list[str]) -> tuple[bytes, dict[str, int]]:
    table, offsets = bytearray(1), {"": 0}
    for name in names:
        if name not in offsets:
            offsets[name] = len(table)
            table += name.encode() + b"\0"
    return bytes(table), offsets


def _lay_out(rows: list[_Row]) -> bytes:
    names, offsets = _string_table([row.name for row in rows] + [".shstrtab"])
    rows = [*rows, _Row(".shstrtab", c.SHT_STRTAB, 0, 1, names, len(names))]
    body = bytearray(_EHDR.size)
    headers = [_SHDR.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]
    for row in rows:
        body += bytes(-len(body) % row.alignment)
        headers.append(
            _SHDR.pack(offsets[row.name], row.type, row.flags, 0, len(body), row.size,
                       row.link, row.info, row.alignment, row.entry_size)
        )  # fmt: skip
        body += row.content
    body += bytes(-len(body) % 8)
    header = _EHDR.pack(
        _IDENTITY, c.ET_REL, c.EM_X86_64, 1, 0, 0, len(body), 0,
        _EHDR.size, 0, 0, _SHDR.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    body[: len(header)] = header
    return bytes(body) + b"".join(headers)
