"""A view of one linked object: what it exports and needs, and where its inputs went.

Owns reading the dynamic section and turning "this symbol of that input" into an address.
It compares nothing, and refuses (HostileInputError) tables that leave the file.
"""

from __future__ import annotations

import struct
from functools import cached_property

from naht.build.compile_pair import LinkedObject, Placement
from naht.build.native.relocatable import Definition, Relocatable
from naht.elf import constants as c
from naht.elf.file import ElfFile, Symbol, malformed, read_string

STB_GNU_UNIQUE = 10
EXPORTED_BINDINGS = frozenset({c.STB_GLOBAL, c.STB_WEAK, STB_GNU_UNIQUE})
HIDDEN = frozenset({c.STV_HIDDEN, c.STV_INTERNAL})
VERSION_MASK = 0x7FFF  # the top bit of a version index hides the symbol from plain look-ups
MAX_VERSIONS = 1 << 15


class LinkedView:
    def __init__(self, linked: LinkedObject) -> None:
        self.linked = linked
        self.path = linked.path
        self.elf = ElfFile(linked.path.read_bytes())

    @cached_property
    def dynamic(self) -> tuple[tuple[int, int], ...]:
        """(tag, value) of the dynamic section; empty in a static executable."""
        for segment in self.elf.segments:
            if segment.type == c.PT_DYNAMIC:
                raw = self.elf.read_address(segment.address, segment.file_size // 16 * 16)
                entries = list(struct.iter_unpack("<qQ", raw))
                end = next((i for i, (tag, _) in enumerate(entries) if tag == c.DT_NULL), None)
                return tuple(entries[:end])
        return ()

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED names in order."""
        values = dict(self.dynamic)
        if c.DT_STRTAB not in values:
            return ()
        table = self.elf.read_address(values[c.DT_STRTAB], values.get(c.DT_STRSZ, 0))
        return tuple(read_string(table, v) for tag, v in self.dynamic if tag == c.DT_NEEDED)

    @cached_property
    def exports(self) -> dict[str, Symbol]:
        """Symbols that other objects can bind to, as `name` or `name@version`."""
        return {
            self._versioned(symbol): symbol
            for symbol in self.elf.dynamic_symbols
            if symbol.name
            and symbol.section != c.SHN_UNDEF
            and symbol.binding in EXPORTED_BINDINGS
            and symbol.visibility not in HIDDEN
        }

    @cached_property
    def exported_names(self) -> frozenset[str]:
        return frozenset(symbol.name for symbol in self.exports.values())

    def _versioned(self, symbol: Symbol) -> str:
        at = 2 * symbol.index
        index = int.from_bytes(self._version_indices[at : at + 2], "little") & VERSION_MASK
        version = self._version_names.get(index, "")
        return f"{symbol.name}@{version}" if version else symbol.name

    @cached_property
    def _version_indices(self) -> bytes:
        section = self.elf.section_by_name.get(".gnu.version")
        return self.elf.section_bytes(section) if section else b""

    @cached_property
    def _version_names(self) -> dict[int, str]:
        """Version index → name, of the versions defined here; 1 is the object's own base."""
        section = self.elf.section_by_name.get(".gnu.version_d")
        if section is None or section.link >= len(self.elf.sections):
            return {}
        raw = self.elf.section_bytes(section)
        strings = self.elf.section_bytes(self.elf.sections[section.link])
        names: dict[int, str] = {}
        at = 0
        for _ in range(MAX_VERSIONS):
            if at + 20 > len(raw):
                raise malformed("a version definition leaves its section")
            index, auxiliary, following = _version_definition(raw, at)
            if at + auxiliary + 4 > len(raw):
                raise malformed("a version name leaves its section")
            name_at = int.from_bytes(raw[at + auxiliary : at + auxiliary + 4], "little")
            names[index & VERSION_MASK] = "" if index == 1 else read_string(strings, name_at)
            if not following:
                break
            at += following
        return names

    def placement(self, view: Relocatable, section: int) -> Placement | None:
        """Where a section of an input went; None when the linker left it out."""
        places = self.linked.placements.get((view.path, view.section(section).name), ())
        rank = view.rank_among_namesakes[section]
        return places[rank] if rank < len(places) else None

    def address_of(self, view: Relocatable, definition: Definition) -> int | None:
        """The link-time address of something that an input defines; None when left out."""
        if definition.section in (c.SHN_COMMON, c.SHN_ABS):
            return self._named_address(definition.name)
        placement = self.placement(view, definition.section)
        if placement is None or definition.end > placement.size:
            return None
        return placement.address + definition.offset

    def _named_address(self, name: str) -> int | None:
        """Common symbols are placed by the linker one by one, under their unique global name."""
        for symbol in (*self.elf.symbols, *self.elf.dynamic_symbols):
            if symbol.name == name and symbol.section not in (c.SHN_UNDEF, c.SHN_COMMON):
                return symbol.value
        return None


def _version_definition(raw: bytes, at: int) -> tuple[int, int, int]:
    """Elf64_Verdef: index, offset of its first name, offset of the next definition."""
    _version, _flags, index, _count, _hash, auxiliary, following = struct.unpack_from(
        "<HHHHIII", raw, at
    )
    return index, auxiliary, following
