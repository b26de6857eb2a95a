"""Symbol versions of a linked ELF file: which version each dynamic symbol has (GNU versioning,
LSB core 10.7). Bounded: a chain that leaves its section or does not advance ends the reading.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from naht.elf.file import ElfFile, malformed, read_string

SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
VER_FLG_BASE = 1
HIDDEN = 0x8000
_MAX_RECORDS = 1 << 16

_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")
_VERDEF = struct.Struct("<HHHHIII")


@dataclass(frozen=True, slots=True)
class SymbolVersion:
    """`hidden` marks a version that is not the default one of its name."""

    name: str
    hidden: bool


def symbol_versions(elf: ElfFile) -> tuple[SymbolVersion, ...]:
    """The version of each dynamic symbol, by symbol index; "" where it has none."""
    table = next((s for s in elf.sections if s.type == SHT_GNU_VERSYM), None)
    if table is None:
        return tuple(SymbolVersion("", False) for _ in elf.dynamic_symbols)
    raw = elf.section_bytes(table)
    count = len(elf.dynamic_symbols)
    if len(raw) < count * 2:
        raise malformed("the version table is shorter than the symbol table")
    names = _names_by_index(elf)
    return tuple(
        SymbolVersion(names.get(index & ~HIDDEN, ""), bool(index & HIDDEN))
        for index in struct.unpack_from(f"<{count}H", raw)
    )


def _names_by_index(elf: ElfFile) -> dict[int, str]:
    names: dict[int, str] = {}
    for section in elf.sections:
        if section.type in (SHT_GNU_VERNEED, SHT_GNU_VERDEF) and section.link < len(elf.sections):
            raw = elf.section_bytes(section)
            strings = elf.section_bytes(elf.sections[section.link])
            read = _read_needed if section.type == SHT_GNU_VERNEED else _read_defined
            read(raw, strings, names)
    return names


def _read_needed(raw: bytes, strings: bytes, names: dict[int, str]) -> None:
    at, records = 0, 0
    while at + _VERNEED.size <= len(raw):
        _version, _count, _file, aux, following = _VERNEED.unpack_from(raw, at)
        inner = at + aux
        while inner + _VERNAUX.size <= len(raw) and records < _MAX_RECORDS:
            _hash, _flags, other, name, inner_next = _VERNAUX.unpack_from(raw, inner)
            names[other & ~HIDDEN] = read_string(strings, name)
            records += 1
            if not inner_next:
                break
            inner += inner_next
        if not following:
            break
        at += following


def _read_defined(raw: bytes, strings: bytes, names: dict[int, str]) -> None:
    at = 0
    while at + _VERDEF.size <= len(raw):
        _version, flags, index, _count, _hash, aux, following = _VERDEF.unpack_from(raw, at)
        if not flags & VER_FLG_BASE and at + aux + 4 <= len(raw):
            (name,) = struct.unpack_from("<I", raw, at + aux)
            names[index & ~HIDDEN] = read_string(strings, name)
        if not following:
            break
        at += following
