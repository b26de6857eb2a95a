"""Reads a 64-bit little-endian x86-64 ELF file held in memory: headers, sections, segments,
symbols, relocations, notes.

Refuses (HostileInputError) what is not such a file, and every table or string that leaves it.
It resolves nothing and runs nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property

import msgspec

from naht.domain.build_id import BuildId, build_id_from_bytes
from naht.elf import constants as c
from naht.errors import HostileInputError

MAX_FILE_SIZE = 4 << 30
MAX_SECTIONS = 1 << 20
MAX_SEGMENTS = 4096
MAX_SYMBOLS = 1 << 23
MAX_RELOCATIONS = 1 << 23

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_NHDR = struct.Struct("<III")


def malformed(what: str) -> HostileInputError:
    return HostileInputError(f"Malformed ELF: {what}.", "Get the file again from its source.")


class Section(msgspec.Struct, frozen=True):
    index: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class Segment(msgspec.Struct, frozen=True):
    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int


class Symbol(msgspec.Struct, frozen=True):
    index: int
    name: str
    binding: int
    type: int
    visibility: int
    section: int  # section index, or SHN_UNDEF / SHN_ABS / SHN_COMMON
    value: int
    size: int


class Relocation(msgspec.Struct, frozen=True):
    offset: int
    type: int
    symbol: int  # index into the symbol table that the relocation section links to
    addend: int


class ElfFile:
    """`data` is the whole file. Sections and symbols are read on first use."""

    def __init__(self, data: bytes | memoryview) -> None:
        if len(data) > MAX_FILE_SIZE:
            raise malformed("larger than 4 GiB")
        self.data = memoryview(data)
        header = _EHDR.unpack(self._slice(0, _EHDR.size, "file header"))
        identity, self.type, machine = header[0], header[1], header[2]
        if identity[:4] != c.ELF_MAGIC:
            raise malformed("no ELF magic")
        if (identity[4], identity[5], machine) != (c.ELFCLASS64, c.ELFDATA2LSB, c.EM_X86_64):
            raise malformed("not 64-bit little-endian x86-64")
        self.entry: int = header[4]
        self._phoff, self._shoff, self.flags = header[5], header[6], header[7]
        self._phentsize, self._phnum, self._shentsize = header[9], header[10], header[11]
        self._shnum, self._shstrndx = header[12], header[13]

    def _slice(self, offset: int, size: int, what: str) -> memoryview:
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise malformed(f"{what} at {offset:#x}+{size:#x} leaves the file")
        return self.data[offset : offset + size]

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        if self._phnum and self._phentsize != _PHDR.size:
            raise malformed("program header size")
        if self._phnum > MAX_SEGMENTS:
            raise malformed("too many program headers")
        table = self._slice(self._phoff, self._phnum * _PHDR.size, "program headers")
        return tuple(
            Segment(kind, flags, offset, vaddr, filesz, memsz, align)
            for kind, flags, offset, vaddr, _paddr, filesz, memsz, align in _PHDR.iter_unpack(table)
        )

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        if not self._shoff:
            return ()
        if self._shentsize != _SHDR.size:
            raise malformed("section header size")
        first = _SHDR.unpack(self._slice(self._shoff, _SHDR.size, "section header"))
        count = self._shnum or first[5]  # counts past 0xff00 live in section 0 (gABI)
        names_index = first[6] if self._shstrndx == 0xFFFF else self._shstrndx
        if count > MAX_SECTIONS:
            raise malformed("too many sections")
        rows = list(_SHDR.iter_unpack(self._slice(self._shoff, count * _SHDR.size, "sections")))
        if names_index >= len(rows):
            raise malformed("section name table")
        names = self._slice(rows[names_index][4], rows[names_index][5], "section names")
        return tuple(Section(i, read_string(names, row[0]), *row[1:]) for i, row in enumerate(rows))

    @cached_property
    def section_by_name(self) -> dict[str, Section]:
        """The first section of each name."""
        return {s.name: s for s in reversed(self.sections)}

    def section_bytes(self, section: Section) -> bytes:
        """The section's content; zeros are not made up for SHT_NOBITS, which is empty here."""
        if section.type in (c.SHT_NOBITS, c.SHT_NULL):
            return b""
        return bytes(self._slice(section.offset, section.size, f"section {section.name}"))

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        return self._read_symbols(c.SHT_SYMTAB)

    @cached_property
    def dynamic_symbols(self) -> tuple[Symbol, ...]:
        return self._read_symbols(c.SHT_DYNSYM)

    def _read_symbols(self, table_type: int) -> tuple[Symbol, ...]:
        table = next((s for s in self.sections if s.type == table_type), None)
        if table is None:
            return ()
        if table.size > MAX_SYMBOLS * _SYM.size or table.link >= len(self.sections):
            raise malformed(f"symbol table {table.name}")
        names = self._slice(
            self.sections[table.link].offset, self.sections[table.link].size, "symbol names"
        )
        extended = self._extended_indices(table.index)
        raw = self._slice(table.offset, table.size - table.size % _SYM.size, "symbols")
        return tuple(
            Symbol(
                i, read_string(names, name), info >> 4, info & 15, other & 3,
                extended[i] if shndx == 0xFFFF and i < len(extended) else shndx, value, size,
            )
            for i, (name, info, other, shndx, value, size) in enumerate(_SYM.iter_unpack(raw))
        )  # fmt: skip

    def _extended_indices(self, table_index: int) -> tuple[int, ...]:
        for section in self.sections:
            if section.type == 18 and section.link == table_index:  # SHT_SYMTAB_SHNDX
                raw = self.section_bytes(section)
                return struct.unpack(f"<{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
        return ()

    def relocations(self, section: Section) -> tuple[Relocation, ...]:
        """The entries of one SHT_RELA section."""
        if section.type != c.SHT_RELA or section.size > MAX_RELOCATIONS * _RELA.size:
            raise malformed(f"relocation section {section.name}")
        raw = self._slice(section.offset, section.size - section.size % _RELA.size, "relocations")
        return tuple(
            Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend)
            for offset, info, addend in _RELA.iter_unpack(raw)
        )

    @cached_property
    def relocations_by_section(self) -> dict[int, tuple[Relocation, ...]]:
        """ET_REL: section index → the relocations that apply to it."""
        found: dict[int, tuple[Relocation, ...]] = {}
        for section in self.sections:
            if section.type == c.SHT_RELA:
                found[section.info] = found.get(section.info, ()) + self.relocations(section)
        return found

    @cached_property
    def build_id(self) -> BuildId | None:
        for segment in self.segments:
            if segment.type == c.PT_NOTE:
                notes = self._slice(segment.offset, segment.file_size, "notes")
                if found := find_build_id(notes, segment.alignment):
                    return found
        return None

    def read_address(self, address: int, size: int) -> bytes:
        """`size` bytes at a link-time virtual address, zero-filled past a segment's file part."""
        for s in self.segments:
            if s.type == c.PT_LOAD and s.address <= address < s.address + s.memory_size:
                if address + size > s.address + s.memory_size:
                    break
                at = address - s.address
                present = max(0, min(size, s.file_size - at))
                body = bytes(self._slice(s.offset + at, present, "segment")) if present else b""
                return body + bytes(size - present)
        raise malformed(f"address {address:#x}+{size:#x} is in no segment")


def read_string(table: memoryview | bytes, offset: int, limit: int = 65536) -> str:
    """The NUL-terminated string at `offset`; hostile bytes become backslash escapes."""
    if offset >= len(table):
        if offset == 0:
            return ""
        raise malformed(f"string at {offset:#x} leaves its table")
    window = bytes(table[offset : offset + 256])  # most names are short, and tables have millions
    end = window.find(b"\0")
    if end < 0:
        window = bytes(table[offset : offset + limit])
        end = window.find(b"\0")
    if end < 0:
        raise malformed("unterminated string")
    return window[:end].decode("utf-8", "backslashreplace")


def find_build_id(notes: memoryview | bytes, alignment: int = 4) -> BuildId | None:
    """The NT_GNU_BUILD_ID in a block of notes, else None."""
    for name, kind, body in iterate_notes(notes, 8 if alignment == 8 else 4):
        if name == b"GNU\0" and kind == c.NT_GNU_BUILD_ID and 4 <= len(body) <= 64:
            return build_id_from_bytes(body)
    return None


def iterate_notes(notes: memoryview | bytes, alignment: int) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, body_size, kind = _NHDR.unpack_from(notes, at)
        name_at = at + _NHDR.size
        body_at = _round_up(name_at + name_size, alignment)
        if body_at + body_size > len(notes):
            return
        name = bytes(notes[name_at : name_at + name_size])
        yield name, kind, bytes(notes[body_at : body_at + body_size])
        at = _round_up(body_at + body_size, alignment)


def _round_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) & -alignment
