"""Debug information of one relocatable object, as entries that know their parents and scopes.

Owns the use of pyelftools. Refuses (ToolError) an object without debug information where it is
asked for, since the builder itself compiled it with `-g`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, TypeVar

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from naht.build.native.relocatable import FIELD_SIZE, Named, Relocatable
from naht.elf.file import Relocation
from naht.errors import ToolError

Read = TypeVar("Read")
Entry = Any  # elftools.dwarf.die.DIE, which has no types

SHF_COMPRESSED = 0x800
DW_OP_ADDR, DW_OP_ADDRX = 0x03, 0xA1
DW_OP_FORM_TLS_ADDRESS, DW_OP_GNU_PUSH_TLS_ADDRESS = 0x9B, 0xE0
SCOPES = frozenset(
    {"DW_TAG_namespace", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type",
     "DW_TAG_subprogram", "DW_TAG_enumeration_type"}
)  # fmt: skip


class DebugInfo:
    """The entries of every unit in the object."""

    def __init__(self, view: Relocatable) -> None:
        self.view = view

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, each of which knows its parent."""
        return self._guarded(lambda: tuple(self._entries()))

    @cached_property
    def compilation_directory(self) -> str:
        units = self._guarded(lambda: [unit.get_top_DIE() for unit in self._units()])
        return next((text(unit, "DW_AT_comp_dir") for unit in units), "")

    def _guarded(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except (ELFError, DWARFError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ToolError(
                f"The debug information of {self.view.path} can't be read: {error}.",
                "Build with a compiler that writes DWARF 4 or 5 (gcc 8+, clang 10+).",
            ) from error

    def _entries(self) -> Iterator[Entry]:
        for unit in self._units():
            for entry in unit.iter_DIEs():
                if not entry.is_null():
                    yield entry

    def _units(self) -> Iterator[Entry]:
        elf = ELFFile(io.BytesIO(self._relocated()))
        if elf.has_dwarf_info(strict=True):
            yield from elf.get_dwarf_info(relocate_dwarf_sections=False).iter_CUs()

    def _relocated(self) -> bytes:
        """The file with offsets between debug sections filled in. pyelftools would do so, but
        slowly, and gives up on the relocations of thread-local variables."""
        elf = self.view.elf
        image = bytearray(elf.data)
        for section in elf.sections:
            if section.name.startswith(".debug_") and not section.flags & SHF_COMPRESSED:
                for relocation in elf.relocations_by_section.get(section.index, ()):
                    value = elf.symbols[relocation.symbol].value + relocation.addend
                    at, size = (
                        section.offset + relocation.offset,
                        FIELD_SIZE.get(relocation.type, 4),
                    )
                    if relocation.offset + size <= section.size:
                        image[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        return bytes(image)

    @cached_property
    def static_scopes(self) -> dict[str, str]:
        """Symbol of a function's static variable → the function, as the source names it."""
        scopes = {}
        for entry in self.entries:
            if entry.tag == "DW_TAG_variable" and (symbol := self.symbol_of(entry)):
                function = enclosing(entry, "DW_TAG_subprogram")
                if function is not None:
                    scopes[symbol] = function_name(function)
        return scopes

    @cached_property
    def inlined(self) -> dict[str, frozenset[str]]:
        """Function → the functions that were inlined into it, at any depth."""
        found: dict[str, set[str]] = {}
        for entry in self.entries:
            if entry.tag == "DW_TAG_inlined_subroutine":
                holder = enclosing(entry, "DW_TAG_subprogram")
                if holder is not None:
                    found.setdefault(function_name(holder), set()).add(function_name(entry))
        return {name: frozenset(names) for name, names in found.items()}

    def is_static(self, entry: Entry) -> bool:
        """A variable with one place for the whole run, that this object defines."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or location.form != "DW_FORM_exprloc" or not location.value:
            return False
        first, last = location.value[0], location.value[-1]
        return first in (DW_OP_ADDR, DW_OP_ADDRX) or last in (
            DW_OP_FORM_TLS_ADDRESS,
            DW_OP_GNU_PUSH_TLS_ADDRESS,
        )

    def symbol_of(self, entry: Entry) -> str:
        """The symbol whose address is the location of a variable."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or location.form != "DW_FORM_exprloc" or not location.value:
            return ""
        if location.value[0] != DW_OP_ADDR:
            return ""
        return self._symbol_at(location.offset + 2)  # 1 length byte, 1 opcode

    def _symbol_at(self, offset: int) -> str:
        relocation = self._addresses.get(offset)
        target = self.view.target(relocation, relocation.addend) if relocation else None
        return target.symbol.name if isinstance(target, Named) else ""

    @cached_property
    def _addresses(self) -> dict[int, Relocation]:
        section = self.view.elf.section_by_name.get(".debug_info")
        relocations = self.view.elf.relocations_by_section
        return {r.offset: r for r in relocations.get(section.index, ())} if section else {}


def text(entry: Entry, attribute: str) -> str:
    found = entry.attributes.get(attribute)
    if found is None or not isinstance(found.value, bytes):
        return ""
    return found.value.decode("utf-8", "backslashreplace")


def number(entry: Entry, attribute: str) -> int | None:
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def follow(entry: Entry, attribute: str) -> Entry | None:
    """The entry that an attribute refers to."""
    if attribute not in entry.attributes:
        return None
    return entry.get_DIE_from_attribute(attribute)


def enclosing(entry: Entry, tag: str) -> Entry | None:
    parent = entry.get_parent()
    while parent is not None and parent.tag != tag:
        parent = parent.get_parent()
    return parent


def origin(entry: Entry) -> Entry:
    """The entry that carries the name: concrete instances refer to it."""
    for _ in range(4):
        for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if attribute in entry.attributes:
                entry = entry.get_DIE_from_attribute(attribute)
                break
        else:
            return entry
    return entry


def function_name(entry: Entry) -> str:
    """The name that linkers see, else the one in the source."""
    named = origin(entry)
    return text(named, "DW_AT_linkage_name") or text(named, "DW_AT_name")


def code_ranges(entry: Entry) -> list[tuple[int, int]]:
    """Where the code of an entry lies, each range relative to its own section (DWARF 5, 2.17)."""
    if "DW_AT_ranges" in entry.attributes:
        lists, offset = entry.dwarfinfo.range_lists(), entry.attributes["DW_AT_ranges"].value
        return list(_absolute(lists.get_range_list_at_offset(offset, entry.cu)))
    start, size = number(entry, "DW_AT_low_pc"), number(entry, "DW_AT_high_pc")
    return [(start, start + size)] if start is not None and size else []


def _absolute(ranges: Iterable[Entry]) -> Iterator[tuple[int, int]]:
    base = 0
    for item in ranges:
        if hasattr(item, "base_address"):
            base = item.base_address
        else:
            start = 0 if item.is_absolute else base
            yield start + item.begin_offset, start + item.end_offset


def qualified_name(entry: Entry) -> str:
    """`scope::name`; what has no name shows as its kind, such as "(anonymous namespace)"."""
    parts = []
    at: Entry | None = entry
    while at is not None:
        if at.tag in SCOPES or at is entry:
            parts.append(text(origin(at), "DW_AT_name") or _ANONYMOUS.get(at.tag, "(anonymous)"))
        at = at.get_parent()
    return "::".join(reversed(parts))


_ANONYMOUS = {"DW_TAG_namespace": "(anonymous namespace)"}
