"""Debug information of one relocatable object, as entries that know their parents and scopes.

Owns the use of pyelftools. Refuses (ToolError) an object without debug information where it is
asked for, since the builder itself compiled it with `-g`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from naht.build.native.relocatable import Named, Relocatable
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import ToolError

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
        try:
            return tuple(self._read())
        except (ELFError, DWARFError, ValueError, KeyError, IndexError,
                AttributeError, struct.error) as error:  # fmt: skip
            raise ToolError(
                f"The debug information of {self.view.path} can't be read: {error}.",
                "Build with a compiler that writes DWARF 4 or 5 (gcc 8+, clang 10+).",
            ) from error

    def _read(self) -> Iterator[Entry]:
        elf = ELFFile(io.BytesIO(without_tls_relocations(self.view.elf)))
        if not elf.has_dwarf_info(strict=True):
            return
        for unit in elf.get_dwarf_info(relocate_dwarf_sections=True).iter_CUs():
            for entry in unit.iter_DIEs():
                if not entry.is_null():
                    yield entry

    def _relocated(self) -> bytes:
        """The file with offsets between debug sections filled in. pyelftools would do so, but
        gives up on the relocations of thread-local variables."""
        image = bytearray(self.view.elf.data)
        symbols = self.view.elf.symbols
        for section in self.view.elf.sections:
            if section.name.startswith(".debug_") and not section.flags & SHF_COMPRESSED:
                for reference in self.view.references(section.index):
                    value = symbols[reference.relocation.symbol].value + reference.relocation.addend
                    at, size = section.offset + reference.field, reference.size
                    image[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        return bytes(image)

    @cached_property
    def compilation_directory(self) -> str:
        units = (e for e in self.entries if e.tag == "DW_TAG_compile_unit")
        return next((text(e, "DW_AT_comp_dir") for e in units), "")

    @cached_property
    def static_scopes(self) -> dict[str, str]:
        """Symbol of a function's static variable → the function, as the source names it."""
        scopes = {}
        for entry in self.entries:
            if entry.tag == "DW_TAG_variable" and (symbol := self._symbol_of(entry)):
                function = enclosing(entry, "DW_TAG_subprogram")
                if function is not None:
                    scopes[symbol] = function_name(function)
        return scopes

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

    def _symbol_of(self, entry: Entry) -> str:
        """The symbol whose address is the location of a variable."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or location.form != "DW_FORM_exprloc" or not location.value:
            return ""
        if location.value[0] != DW_OP_ADDR:
            return ""
        return self._address_names.get(location.offset + 2, "")  # 1 length byte, 1 opcode

    @cached_property
    def _address_names(self) -> dict[int, str]:
        section = self.view.elf.section_by_name.get(".debug_info")
        if section is None:
            return {}
        return {
            r.field: r.target.symbol.name
            for r in self.view.references(section.index)
            if isinstance(r.target, Named)
        }


def without_tls_relocations(elf: ElfFile) -> bytes:
    """The object with the offsets of thread-local variables in its debug sections left at 0.

    pyelftools refuses these relocations; nobody here asks where in its block such a variable is.
    """
    data = bytearray(elf.data)
    for section in elf.sections:
        if section.type == c.SHT_RELA and section.name.startswith(".rela.debug_"):
            for entry in range(section.offset, section.offset + section.size, section.entry_size):
                (kind,) = struct.unpack_from("<I", data, entry + 8)
                if kind in (c.R_X86_64_DTPOFF32, c.R_X86_64_DTPOFF64):
                    struct.pack_into("<I", data, entry + 8, c.R_X86_64_NONE)
    return bytes(data)


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
