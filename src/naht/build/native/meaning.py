"""The meaning of code and data: what two objects must share to be the same program text.

Owns turning a function or a datum into a value that two builds can compare: bytes with relocated
fields blanked, plus what each field refers to. Names of local things pass through
`identity`, which both sides agree on. Named constants enter by name; whether their content
changed is for the caller to ask of them too. It judges nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise

from naht.build.native.frames import Frame, frames
from naht.build.native.names import cold_parent
from naht.build.native.relocatable import (
    Constant,
    Definition,
    Named,
    Place,
    Reference,
    Relocatable,
    Target,
    Text,
)
from naht.elf import constants as c

Meaning = tuple[object, ...]
Extent = tuple[bytes, tuple[tuple[int, int, Meaning], ...]]
Identity = Callable[[str], str]


class Meanings:
    """The meanings of the things in one object.

    `neutral_path` turns a string literal into what is left when build paths are taken out.
    `narrow` takes of unnamed data only what certainly belongs to a reference, not all that may.
    """

    def __init__(
        self,
        view: Relocatable,
        identity: Identity,
        neutral_path: Callable[[bytes], bytes] = bytes,
        *,
        narrow: bool = False,
    ) -> None:
        self.view = view
        self._narrow = narrow
        self._identity = identity
        self._neutral_path = neutral_path
        self._functions: dict[tuple[str, tuple[str, ...]], Meaning] = {}

    def function(self, name: str, cold: tuple[str, ...] = ()) -> Meaning:
        """A function with its split-off parts and its unwind and exception tables."""
        if (name, cold) not in self._functions:
            definitions = [self.view.functions[part] for part in (name, *cold)]
            self._functions[name, cold] = tuple(
                (self._code(d), self._frame(d)) for d in definitions
            )
        return self._functions[name, cold]

    def datum(self, name: str) -> Meaning:
        definition = self.view.data[name]
        if definition.section == c.SHN_COMMON:
            return ("zeros", definition.size)
        if self.view.section(definition.section).type == c.SHT_NOBITS:
            return ("zeros", definition.size)
        extent = self._extent(definition.section, definition.offset, definition.end, name)
        if not extent[1] and not any(self.view.definition_bytes(definition)):
            return ("zeros", definition.size)
        return extent

    def section(self, index: int) -> Meaning:
        """A whole section, for those whose parts have no names."""
        return self._extent(index, 0, self.view.section(index).size, "")

    def references(self, name: str, cold: tuple[str, ...] = ()) -> Iterator[Meaning]:
        """What a function refers to, in order, without literals."""
        for part in (name, *cold):
            for reference in self.view.references_of(self.view.functions[part]):
                if isinstance(reference.target, Named):
                    yield self._target(reference.target, reference, part)

    def target(self, reference: Reference, owner: str) -> Meaning:
        """What one field of `owner` refers to."""
        return self._target(reference.target, reference, owner)

    def _code(self, definition: Definition) -> Meaning:
        return self._extent(definition.section, definition.offset, definition.end, definition.name)

    def _extent(
        self, section: int, start: int, end: int, owner: str, *, table: bool = False
    ) -> Extent:
        """[start, end) of a section. In a jump table, entries count from its start."""
        body = bytearray(self.view.content(section)[start:end])
        fields = []
        for reference in self.view.references_in(section, start, end):
            at = reference.field - start
            body[at : at + reference.size] = bytes(reference.size)
            target = reference.target
            if table and reference.pc_relative and reference.use == "data":
                target = self.view.target(reference.relocation, reference.relocation.addend - at)
            fields.append((at, reference.type, self._target(target, reference, owner)))
        return bytes(body), tuple(fields)

    def _target(self, target: Target, reference: Reference, owner: str) -> Meaning:
        match target:
            case Named(symbol, offset):
                name = self._identity(symbol.name) if symbol.binding == c.STB_LOCAL else symbol.name
                return ("symbol", name, offset)
            case Text(content, character, offset):
                return ("text", self._neutral_path(content), character, offset)
            case Constant(content, offset):
                if reference.use == "access" and offset >= 0:
                    return ("constant", content[offset : offset + reference.width])
                return ("constant", content, offset)
            case Place(section, offset):
                return self._place(section, offset, reference, owner)

    def _place(self, section: int, offset: int, reference: Reference, owner: str) -> Meaning:
        """Anonymous read-only data by content; any other unnamed place by its section's name."""
        if not self.view.is_read_only(section) or self.view.is_code(section):
            return self._unnamed_variable(section, offset)
        size = self.view.section(section).size
        if not 0 <= offset < size:
            return ("outside", *self._extent(section, 0, size, owner, table=True), offset)
        if reference.use == "access":
            end = min(offset + reference.width, size)
            return ("anonymous", *self._extent(section, offset, end, owner))
        *inner, last = pairwise(self._starts_within(section, offset, owner))
        final = _without_padding(self._extent(section, *last, owner, table=True))
        if not inner:
            return final
        pieces = [_literal(self._extent(section, *piece, owner, table=True)) for piece in inner]
        return ("pieces", *pieces, final)

    def _unnamed_variable(self, section: int, offset: int) -> Meaning:
        """A place in writable data, or the pointer to a type's identity that is there."""
        for reference in self.view.references_in(section, offset, offset + 1):
            if name := typeinfo_name(reference):
                return ("typeinfo", name)
        return ("place", self.view.section(section).name, offset)

    def _starts_within(self, section: int, start: int, owner: str) -> list[int]:
        """Unnamed data has no sizes: it ends where a name or another owner's data begins. What
        the same owner refers to in between may be part of it, or the next piece after padding."""
        found = [start]
        starts = self._piece_starts.get(section, [])
        for at in range(bisect_right(starts, start, key=lambda s: s[0]), len(starts)):
            place, other = starts[at]
            if place != found[-1]:
                found.append(place)
            if other != owner or self._narrow:
                return found
        return [*found, self.view.section(section).size]

    def piece_end(self, section: int, start: int, owner: str) -> int:
        """Up to where unnamed data that `owner` refers to may reach."""
        return self._starts_within(section, start, owner)[-1]

    @cached_property
    def _piece_starts(self) -> dict[int, list[tuple[int, str]]]:
        """Section → (place, owner), ordered."""
        starts: dict[int, list[tuple[int, str]]] = {}
        for section in self.view.elf.sections:
            if not section.flags & c.SHF_ALLOC:
                continue
            for reference in self.view.references(section.index):
                target = reference.target
                if isinstance(target, Place) and (self._narrow or reference.use != "access"):
                    owner = self._owner(section.index, reference)
                    starts.setdefault(target.section, []).append((target.offset, owner))
        for definition in self.view.data.values():
            starts.setdefault(definition.section, []).append((definition.offset, "\0name"))
        return {section: sorted(places) for section, places in starts.items()}

    def _owner(self, section: int, reference: Reference) -> str:
        symbol = self.view.covering(section, reference.field)
        return symbol.name if symbol else _unnamed_owner(section, reference.field)

    @cached_property
    def _frames(self) -> dict[tuple[int, int], Frame]:
        return frames(self.view)

    def _frame(self, definition: Definition) -> Meaning:
        frame = self._frames.get((definition.section, definition.offset))
        if frame is None:
            return ()
        table: Meaning = ()
        if frame.lsda and (place := self.view.raw_place(frame.lsda)):
            end = self.piece_end(*place, _unnamed_owner(frame.section, frame.lsda.field))
            table = _without_padding(self._extent(*place, end, definition.name))
        return frame.rules, frame.common, frame.personality, table


def _without_padding(extent: Extent) -> Meaning:
    """Zeros at the end may be the assembler's, up to the next aligned piece. If they are the
    program's own, it knows their number, and the code that knows it differs by itself."""
    body, fields = extent
    return ("anonymous", body.rstrip(b"\0"), fields)


def _literal(extent: Extent) -> Meaning:
    """A string without the padding after it; of anything else the distance to what follows
    counts too, since both may be parts of one thing."""
    body, fields = extent
    text = body.rstrip(b"\0")
    return ("anonymous", body if b"\0" in text else text, fields)


def typeinfo_name(reference: Reference) -> str:
    """The `_ZTI…` that a pointer is for, else "". Clang's position independent exception tables
    reach types through pointers in .data that have no names but `.L_ZTI….DW.stub`."""
    target = reference.target
    if isinstance(target, Named) and target.symbol.name.startswith("_ZTI"):
        return target.symbol.name
    return ""


def _unnamed_owner(section: int, field: int) -> str:
    return f"\0{section}:{field}"  # no symbol's name holds a NUL


def cold_parts(view: Relocatable) -> dict[str, tuple[str, ...]]:
    """Function → its split-off parts, in order of name."""
    parts: dict[str, tuple[str, ...]] = {}
    for name in sorted(view.functions):
        parent = cold_parent(name)
        if parent in view.functions:
            parts[parent] = (*parts.get(parent, ()), name)
    return parts


def symbols_in(meaning: object) -> Iterator[str]:
    """The identities that a meaning refers to, also through unnamed data."""
    return (name for name, _ in places_in(meaning))


def places_in(meaning: object) -> Iterator[tuple[str, int]]:
    """The same with offsets."""
    if isinstance(meaning, tuple):
        if len(meaning) == 3 and meaning[0] == "symbol":
            yield str(meaning[1]), int(meaning[2])
        else:
            for part in meaning:
                yield from places_in(part)
