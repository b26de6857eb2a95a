"""A typed view of a hotpatch's ELF image, made only after every rule of docs/hotpatch_format.md
has been checked. Builder and engine read images through it.

Refuses (HostileInputError) any image that breaks a rule. It judges the image against its manifest
entry alone: not against a process, and not who made it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Literal

import msgspec

from naht.elf import constants as c
from naht.elf.file import ElfFile, Section, Symbol
from naht.errors import HostileInputError
from naht.hotpatch.manifest import Function, Image, Part

MAX_SECTIONS = 0xFF00  # from there on ELF needs extended numbering, which images don't use
MAX_SYMBOLS = 500_000
MAX_LOADED_SIZE = 256 << 20
PAGE = 4096
REDIRECT_SIZE = 5
ENDBR64 = b"\xf3\x0f\x1e\xfa"
DISPLACED_PREFIX = "naht.displaced."
OLD_PREFIX = ".naht.old."

RELOCATION_WIDTH = {
    c.R_X86_64_64: 8, c.R_X86_64_PC64: 8, c.R_X86_64_PC32: 4, c.R_X86_64_PLT32: 4,
    c.R_X86_64_32: 4, c.R_X86_64_32S: 4,
}  # fmt: skip

Kind = Literal["code", "constant", "data"]
"""code: executable. constant: written once by the engine, then read-only. data: writable."""

_KINDS: dict[int, Kind] = {
    c.SHF_ALLOC | c.SHF_EXECINSTR: "code",
    c.SHF_ALLOC: "constant",
    c.SHF_ALLOC | c.SHF_WRITE: "data",
}
_UNLOADED_TYPES = frozenset({c.SHT_NULL, c.SHT_PROGBITS, c.SHT_SYMTAB, c.SHT_STRTAB, c.SHT_RELA})


class ImageRelocation(msgspec.Struct, frozen=True):
    offset: int
    type: int
    symbol: str
    addend: int


class LoadedSection(msgspec.Struct, frozen=True):
    """A section that goes into the process. `content` is empty for zero-filled data."""

    name: str
    kind: Kind
    alignment: int
    size: int
    content: bytes
    relocations: tuple[ImageRelocation, ...]


class Definition(msgspec.Struct, frozen=True):
    """Where a symbol of the image lies: `section` is the name of a loaded section."""

    section: str
    value: int
    size: int
    is_function: bool


class HotpatchImage(msgspec.Struct, frozen=True):
    """`symbols` are the defined ones; each name in `undefined` has one binding in the manifest."""

    sections: tuple[LoadedSection, ...]
    symbols: Mapping[str, Definition]
    undefined: frozenset[str]
    old_code: Mapping[str, bytes]  # section name of a manifest `Part` → its bytes

    def section(self, name: str) -> LoadedSection:
        return next(s for s in self.sections if s.name == name)


def check_image(elf: ElfFile, image: Image) -> HotpatchImage:
    """Checks every rule of the format, then returns the view."""
    _check_frame(elf)
    view = _read(elf)
    _check_relocations(view, image)
    _check_bindings(view, image)
    _check_functions(view, image)
    _check_hooks(view, image)
    _check_handed_over(view, image)
    _check_unwind_table(view)
    return view


def _bad(why: str, where: str = "") -> HostileInputError:
    return HostileInputError(
        f"Not a valid hotpatch image: {why}.",
        "Get the file again from its source, or build it again.",
        where=where,
    )


# --- file → view -----------------------------------------------------------------------------


def _check_frame(elf: ElfFile) -> None:
    """Bounds that hold before tables are read: tables that overlap could multiply their size."""
    if elf.type != c.ET_REL or elf.segments:
        raise _bad("it is not a relocatable object")
    if not 0 < len(elf.sections) < MAX_SECTIONS:
        raise _bad(f"{len(elf.sections)} sections")
    if sum(s.size for s in elf.sections if s.type != c.SHT_NOBITS) > len(elf.data):
        raise _bad("its sections overlap in the file")
    tables = [s for s in elf.sections if s.type == c.SHT_SYMTAB]
    if len(tables) != 1 or tables[0].size > MAX_SYMBOLS * 24:
        raise _bad("it has no symbol table of a sane size")
    for section in elf.sections:
        _check_section(section, tables[0].index, len(elf.sections))
    loaded = sum(s.size + s.alignment for s in elf.sections if s.flags & c.SHF_ALLOC)
    if loaded > MAX_LOADED_SIZE:
        raise _bad(f"it would take {loaded} bytes of memory")


def _check_section(section: Section, symbol_table: int, count: int) -> None:
    if section.type == c.SHT_RELA and not (
        section.link == symbol_table and 0 < section.info < count and section.size % 24 == 0
    ):
        raise _bad("a relocation section has no target", section.name)
    if not section.flags & c.SHF_ALLOC:
        if section.type not in _UNLOADED_TYPES:
            raise _bad(f"section type {section.type:#x}", section.name)
        return
    if section.flags not in _KINDS:
        raise _bad(f"section flags {section.flags:#x}", section.name)
    if section.alignment > PAGE or section.alignment.bit_count() != 1:
        raise _bad(f"section alignment {section.alignment}", section.name)
    zeros = section.type == c.SHT_NOBITS and section.flags & c.SHF_WRITE
    if section.type != c.SHT_PROGBITS and not zeros:
        raise _bad(f"section type {section.type:#x}", section.name)


def _read(elf: ElfFile) -> HotpatchImage:
    symbols = elf.symbols
    relocations = _read_relocations(elf, symbols)
    loaded = [s for s in elf.sections if s.flags & c.SHF_ALLOC]
    old = [s for s in elf.sections if s.name.startswith(OLD_PREFIX)]
    names = [s.name for s in (*loaded, *old)]
    if len(set(names)) != len(names):
        raise _bad("two sections share a name")
    return HotpatchImage(
        tuple(_load(elf, s, relocations.pop(s.index, ())) for s in loaded),
        _read_definitions(elf, symbols),
        frozenset(s.name for s in symbols[1:] if s.section == c.SHN_UNDEF),
        {s.name: elf.section_bytes(s) for s in old},
    )


def _load(
    elf: ElfFile, section: Section, relocations: tuple[ImageRelocation, ...]
) -> LoadedSection:
    for r in relocations:
        width = RELOCATION_WIDTH.get(r.type)
        if width is None:
            raise _bad(f"relocation type {r.type}", section.name)
        if section.type == c.SHT_NOBITS or r.offset + width > section.size:
            raise _bad(f"a relocation at {r.offset:#x} leaves its section", section.name)
    return LoadedSection(
        section.name, _KINDS[section.flags], section.alignment, section.size,
        elf.section_bytes(section), relocations,
    )  # fmt: skip


def _read_relocations(
    elf: ElfFile, symbols: tuple[Symbol, ...]
) -> dict[int, tuple[ImageRelocation, ...]]:
    tables = [s for s in elf.sections if s.type == c.SHT_RELA]
    if len({table.info for table in tables}) != len(tables):
        raise _bad("a section has two relocation tables")
    if any(not elf.sections[table.info].flags & c.SHF_ALLOC for table in tables):
        raise _bad("a section that is not loaded has relocations")
    found = {}
    for table in tables:
        rows = elf.relocations(table)
        if any(not 0 < row.symbol < len(symbols) for row in rows):
            raise _bad("a relocation names no symbol", table.name)
        found[table.info] = tuple(
            ImageRelocation(row.offset, row.type, symbols[row.symbol].name, row.addend)
            for row in rows
        )
    return found


def _read_definitions(elf: ElfFile, symbols: tuple[Symbol, ...]) -> dict[str, Definition]:
    names = [s.name for s in symbols[1:]]
    if "" in names or len(set(names)) != len(names):
        raise _bad("two symbols share a name, or one has none")
    return {s.name: _define(elf, s) for s in symbols[1:] if s.section != c.SHN_UNDEF}


def _define(elf: ElfFile, symbol: Symbol) -> Definition:
    if symbol.section >= len(elf.sections):
        raise _bad("a symbol lies in no section", symbol.name)
    section = elf.sections[symbol.section]
    if not section.flags & c.SHF_ALLOC or symbol.type not in (
        c.STT_NOTYPE, c.STT_OBJECT, c.STT_FUNC
    ):  # fmt: skip
        raise _bad("a symbol of a kind that images don't have", symbol.name)
    if symbol.value + symbol.size > section.size:
        raise _bad("a symbol leaves its section", symbol.name)
    return Definition(section.name, symbol.value, symbol.size, symbol.type == c.STT_FUNC)


# --- view against manifest -------------------------------------------------------------------


def _check_relocations(view: HotpatchImage, image: Image) -> None:
    distant = {b.symbol for b in image.bindings if b.kind != "object"}
    executable = image.target.kind == "executable"
    for section in view.sections:
        for r in section.relocations:
            if r.type != c.R_X86_64_64 and (r.symbol in distant or section.name == ".naht.got"):
                raise _bad(f"{r.symbol} may be out of reach", section.name)
            if r.type in (c.R_X86_64_32, c.R_X86_64_32S) and not executable:
                raise _bad("a 32-bit address for a library", section.name)


def _check_bindings(view: HotpatchImage, image: Image) -> None:
    names = [b.symbol for b in image.bindings]
    if len(set(names)) != len(names):
        raise _bad("a symbol has two bindings")
    if odd := sorted(set(names) ^ view.undefined):
        raise _bad(f"{odd[0]} is bound but not used, or used but not bound")
    for b in image.bindings:
        if (b.kind == "import") != bool(b.name) or (b.kind != "import" and (b.version or b.weak)):
            raise _bad("a binding contradicts its kind", b.symbol)
        if b.kind != "object" and b.offset:
            raise _bad("only object bindings have an offset", b.symbol)


def _check_functions(view: HotpatchImage, image: Image) -> None:
    names = [f.name for f in image.functions]
    if len(set(names)) != len(names):
        raise _bad("a function is listed twice")
    contents = {s.name: s for s in view.sections}
    for function in image.functions:
        _check_new_code(view, contents, function)
        _check_old_code(view, function)
    _check_disjoint([part for f in image.functions for part in f.parts])


def _check_new_code(
    view: HotpatchImage, contents: dict[str, LoadedSection], function: Function
) -> None:
    found = view.symbols.get(function.name)
    if found is None or not found.is_function or contents[found.section].kind != "code":
        raise _bad("a function is not in it", function.name)
    section = contents[found.section]
    if found.value or function.new_size != section.size or not section.size:
        raise _bad("a function does not have the stated size", function.name)
    if hashlib.sha256(section.content).hexdigest() != function.new_digest:
        raise _bad("a function does not have the stated digest", function.name)
    if function.displaced and not _is_displaced(view, contents, function):
        raise _bad("displaced instructions are not in it", function.name)


def _is_displaced(
    view: HotpatchImage, contents: dict[str, LoadedSection], function: Function
) -> bool:
    found = view.symbols.get(function.displaced)
    return (
        found is not None
        and function.displaced == DISPLACED_PREFIX + function.name
        and contents[found.section].kind == "code"
        and found.value == 0
    )


def _check_old_code(view: HotpatchImage, function: Function) -> None:
    if (function.change == "changed") != bool(function.parts):
        raise _bad("a changed function has old code, a new one has none", function.name)
    for part in function.parts:
        code = view.old_code.get(part.section)
        if code is None or not code or len(code) != part.size:
            raise _bad("old code is not in it with the stated size", function.name)
        if hashlib.sha256(code).hexdigest() != part.digest:
            raise _bad("old code does not have the stated digest", function.name)
    if function.parts:
        _check_redirect(view, function)
    elif function.redirect or function.displaced:
        raise _bad("a new function has nothing to redirect", function.name)


def _check_redirect(view: HotpatchImage, function: Function) -> None:
    entry = function.parts[0]
    marked = view.old_code[entry.section].startswith(ENDBR64)
    if function.redirect != entry.offset + (len(ENDBR64) if marked else 0):
        raise _bad("the redirection is not at the entry", function.name)
    if function.redirect + REDIRECT_SIZE > entry.offset + entry.size:
        raise _bad("a function is too short to be redirected", function.name)


def _check_disjoint(parts: list[Part]) -> None:
    sections = [part.section for part in parts]
    if len(set(sections)) != len(sections):
        raise _bad("old code is used twice")
    ordered = sorted(parts, key=lambda part: part.offset)
    for before, after in itertools.pairwise(ordered):
        if before.offset + before.size > after.offset:
            raise _bad("old functions overlap", after.section)


def _check_hooks(view: HotpatchImage, image: Image) -> None:
    code = {s.name for s in view.sections if s.kind == "code"}
    for name in (image.hooks.pre_apply, image.hooks.post_apply, image.hooks.pre_revert):
        if name and (name not in view.symbols or view.symbols[name].section not in code):
            raise _bad("a hook is not in it", name)


def _check_handed_over(view: HotpatchImage, image: Image) -> None:
    data = {s.name: s for s in view.sections if s.kind == "data"}
    for name in image.hands_over:
        found = view.symbols.get(name)
        if found is None or found.section not in data or found.size != 8:
            raise _bad("what it hands over is no word of its data", name)
        section = data[found.section]
        if found.value % 8 or section.alignment % 8 or section.relocations:
            raise _bad("what it hands over is not aligned, or is relocated", name)
    if len(set(image.hands_over)) != len(image.hands_over):
        raise _bad("it hands something over twice")


def _check_unwind_table(view: HotpatchImage) -> None:
    """The target's unwinder walks .eh_frame by its length words alone, until a zero word."""
    table = next((s for s in view.sections if s.name == ".eh_frame"), None)
    if table is None:
        return
    at, starts = 0, set()
    while (length := int.from_bytes(table.content[at : at + 4], "little")) != 0:
        starts.add(at)
        back = int.from_bytes(table.content[at + 4 : at + 8], "little")
        if length >= 0xFFFFFFF0 or length < 8 or (back and at + 4 - back not in starts):
            raise _bad("its unwind table is not well-formed")
        at += 4 + length
    if at + 4 != table.size or table.kind != "constant":
        raise _bad("its unwind table is not closed")
