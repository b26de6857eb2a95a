"""Which pieces of the new build go into the image, each exactly once: functions, data, literals,
unnamed constants. A piece that is asked for is copied and queued, so that what it refers to is
looked at in turn. What a reference means is decided in `references` and `linking`, not here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal as Choice

from naht.build.compile_pair import UnitPair
from naht.build.native.changes import IncludedFunction
from naht.build.native.code_checks import check_self_contained
from naht.build.native.literals import Literal
from naht.build.native.names import cold_parent
from naht.build.native.new_build import NewBuild
from naht.build.native.relocatable import Definition, Relocatable
from naht.build.native.writer import Draft, DraftKind, DraftSection
from naht.elf import constants as c
from naht.elf.file import Symbol
from naht.errors import BuildRefusedError

Role = Choice["changed", "new", "cold", "data"]


@dataclass(frozen=True, eq=False)
class Chunk:
    """A copied piece of a section of the new build. `symbol` is where it starts in the image."""

    unit: UnitPair
    name: str  # what it is called in its unit; a section's name when it has no other
    section: int
    start: int
    end: int
    symbol: str
    draft: DraftSection
    role: Role

    @property
    def where(self) -> str:
        return f"{self.unit.source}: {self.name}"


@dataclass(frozen=True, eq=False)
class PlacedFunction:
    """A function of the image: what the change set says of it, and its code."""

    included: IncludedFunction
    chunk: Chunk
    cold: list[Chunk] = field(default_factory=list)


class Closure:
    def __init__(self, build: NewBuild, draft: Draft) -> None:
        self.build = build
        self.draft = draft
        self.functions: list[PlacedFunction] = []
        self.queue: deque[Chunk] = deque()
        self.writable: list[Chunk] = []
        self._chunks: dict[tuple[UnitPair, int, int, str], Chunk] = {}
        self._globals: dict[str, Chunk] = {}
        self._literals: dict[Literal, str] = {}

    def add_function(self, included: IncludedFunction) -> PlacedFunction:
        """Puts a function into the image, with its split-off parts."""
        file = self.build.file(included.unit)
        definition = _function(file, included.name)
        known = self.function_at(included.unit, definition.symbol)
        for placed in self.functions:  # an alias, such as C1 and C2 constructors
            if placed.chunk is known:
                return placed
        chunk = self._copy_function(included.unit, definition, included.change)
        placed = PlacedFunction(included, chunk)
        self.functions.append(placed)
        for name in _cold_names(file, included):
            part = self._copy_function(included.unit, _function(file, name), "cold")
            placed.cold.append(part)
        return placed

    def need_function(self, unit: UnitPair, definition: Definition, needed_by: str) -> Chunk:
        """A function that the running object does not have, though nobody listed it."""
        reason = f"used by {needed_by}"
        return self.add_function(
            IncludedFunction(unit, definition.name, "new", reason=reason)
        ).chunk

    def function_at(self, unit: UnitPair, symbol: Symbol) -> Chunk | None:
        """Of an inline function that several units define, any unit's copy."""
        here = self._chunks.get((unit, symbol.section, symbol.value, ""))
        if here is None and symbol.binding != c.STB_LOCAL:
            return self._globals.get(symbol.name)
        return here

    def need_datum(self, unit: UnitPair, definition: Definition) -> Chunk:
        if not definition.is_local and definition.name in self._globals:
            return self._globals[definition.name]
        common = definition.section == c.SHN_COMMON
        key = (unit, definition.section, definition.offset, definition.name if common else "")
        if key not in self._chunks:
            copy = self._copy_common if common else self._copy_datum
            self._keep(key, copy(unit, definition))
            self._keep_global(definition, self._chunks[key])
        return self._chunks[key]

    def need_section(self, unit: UnitPair, index: int) -> Chunk:
        """A whole section, for places in it that have no names."""
        key = (unit, index, -1, "")
        if key not in self._chunks:
            file = self.build.file(unit)
            section = file.section(index)
            if not file.is_read_only(index) or file.is_code(index):
                raise BuildRefusedError(
                    "anonymous-data",
                    f"The new code uses a place in {section.name} that has no symbol.",
                    "Keep that variable out of the change, or give it a name.",
                    where=unit.source,
                )
            label = "naht.part" + section.name
            chunk = self._copy(unit, section.name, index, 0, section.size, label, "data")
            self._keep(key, chunk)
        return self._chunks[key]

    def need_literal(self, literal: Literal) -> str:
        """A string or constant that the running object lacks, whatever unit it comes from."""
        if literal not in self._literals:
            section = self._pool(f".rodata.{literal.kind}")
            at = section.append(literal.content, literal.alignment)
            label = self.draft.free_name(f"naht.{literal.kind}.{len(self._literals)}")
            size = len(literal.content)
            self._literals[literal] = self.draft.define(label, section.name, at, size)
        return self._literals[literal]

    def _pool(self, name: str) -> DraftSection:
        if name not in self.draft.sections:
            self.draft.add_section(DraftSection(name, "constant"))
        return self.draft.sections[name]

    def _copy_function(self, unit: UnitPair, definition: Definition, role: Role) -> Chunk:
        chunk = self._copy(
            unit, definition.name, definition.section, definition.offset, definition.end,
            definition.name, role,
        )  # fmt: skip
        self._keep((unit, definition.section, definition.offset, ""), chunk)
        self._keep_global(definition, chunk)
        references = self.build.file(unit).references_of(definition)
        check_self_contained(bytes(chunk.draft.content), references, chunk.start, chunk.where)
        return chunk

    def _copy_datum(self, unit: UnitPair, definition: Definition) -> Chunk:
        return self._copy(
            unit, definition.name, definition.section, definition.offset, definition.end,
            definition.name, "data",
        )  # fmt: skip

    def _copy_common(self, unit: UnitPair, definition: Definition) -> Chunk:
        alignment = max(definition.symbol.value, 1)  # what st_value means in a common symbol
        draft = DraftSection("", "data", alignment, zeros=definition.size)
        chunk = Chunk(unit, definition.name, c.SHN_COMMON, 0, 0, "", draft, "data")
        return self._add(chunk, definition.name)

    def _copy(
        self, unit: UnitPair, name: str, index: int, start: int, end: int, label: str, role: Role
    ) -> Chunk:  # fmt: skip
        file = self.build.file(unit)
        section = file.section(index)
        kind: DraftKind = "code" if role != "data" else _data_kind(file, index)
        alignment = _alignment_at(max(section.alignment, 1), start)
        draft = DraftSection("", kind, alignment)
        if section.type == c.SHT_NOBITS:
            draft.zeros = end - start
        else:
            draft.content += file.content(index)[start:end]
        return self._add(Chunk(unit, name, index, start, end, "", draft, role), label)

    def _add(self, chunk: Chunk, label: str) -> Chunk:
        """Gives the copy its names in the image."""
        symbol, draft = self.draft.free_name(label), chunk.draft
        draft.name = self.draft.free_section_name(_section_name(draft, symbol))
        self.draft.add_section(draft)
        self.draft.define(symbol, draft.name, 0, draft.size, is_function=chunk.role != "data")
        return replace(chunk, symbol=symbol)

    def _keep_global(self, definition: Definition, chunk: Chunk) -> None:
        if not definition.is_local:
            self._globals.setdefault(definition.name, chunk)

    def _keep(self, key: tuple[UnitPair, int, int, str], chunk: Chunk) -> None:
        self._chunks[key] = chunk
        self.queue.append(chunk)
        if chunk.draft.kind == "data":
            self.writable.append(chunk)


def _function(file: Relocatable, name: str) -> Definition:
    if name not in file.functions:
        raise BuildRefusedError(
            "no-function",
            f"{name} is not in {file.path.name}.",
            "Run the build again; the object file changed meanwhile.",
            where=name,
        )
    return file.functions[name]


def _cold_names(file: Relocatable, included: IncludedFunction) -> tuple[str, ...]:
    found = {n for n in file.functions if cold_parent(n) == included.name}
    return tuple(sorted(found | set(included.cold)))


def _data_kind(file: Relocatable, index: int) -> DraftKind:
    return "constant" if file.is_read_only(index) else "data"


def _alignment_at(alignment: int, start: int) -> int:
    """What is left of a section's alignment for a piece that starts within it."""
    while start % alignment:
        alignment //= 2
    return alignment


def _section_name(draft: DraftSection, symbol: str) -> str:
    if draft.kind == "code":
        return f".text.{symbol}"
    if draft.kind == "constant":
        return f".rodata.{symbol}"
    return f".bss.{symbol}" if draft.zeros else f".data.{symbol}"
