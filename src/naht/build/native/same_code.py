"""Whether a function is the same code in two forms of one unit: sections apart, or all in one.

Owns the comparison by decoded instructions. In the plain form, jumps between functions of one
section need no relocation and may be short, so offsets differ where the code does not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from iced_x86 import Instruction, Mnemonic

from naht.build.native.instructions import decode, displacement_offset, is_near_branch
from naht.build.native.meaning import Meaning, Meanings
from naht.build.native.names import family
from naht.build.native.relocatable import Definition, Named, Place, Reference, Relocatable
from naht.elf import constants as c


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: what it is apart from where it goes, and where that is."""

    offset: int  # in the function
    body: bytes | int  # the encoding with fields blanked; of a branch its mnemonic
    reference: Reference | None
    destination: tuple[int, int] | None  # (section, offset) of an unrelocated branch or address


class FormComparison:
    """The sectioned and the plain form of one unit of one build."""

    def __init__(self, sectioned: Relocatable, plain: Relocatable) -> None:
        self.sectioned, self.plain = sectioned, plain
        self._sectioned_meanings = Meanings(sectioned, family, narrow=True)
        self._plain_meanings = Meanings(plain, family, narrow=True)

    def differing_functions(self) -> list[str]:
        """Functions that are not the same, or that one form lacks."""
        names = self.sectioned.functions.keys() | self.plain.functions.keys()
        return sorted(name for name in names if not self.is_same(name))

    def is_same(self, name: str) -> bool:
        one, other = self.sectioned.functions.get(name), self.plain.functions.get(name)
        if one is None or other is None:
            return False
        left, right = list(steps(self.sectioned, one)), list(steps(self.plain, other))
        if len(left) != len(right):
            return False
        mine, theirs = Labels(one, left), Labels(other, right)
        return all(self._same_step(a, b, mine, theirs) for a, b in zip(left, right, strict=True))

    def _same_step(self, a: Step, b: Step, mine: Labels, theirs: Labels) -> bool:
        if a.body != b.body:
            return False
        if a.reference is None and a.destination is None:
            return b.reference is None and b.destination is None
        place_a, place_b = place_of(a, self.sectioned), place_of(b, self.plain)
        inside_a, inside_b = mine.number(place_a), theirs.number(place_b)
        if inside_a is not None or inside_b is not None:
            return inside_a == inside_b
        return self._same_target(a, b, place_b, mine, theirs)

    def _same_target(
        self, a: Step, b: Step, place_b: tuple[int, int] | None, mine: Labels, theirs: Labels
    ) -> bool:
        if mine.is_end(a.destination) and theirs.is_end(b.destination):
            return True  # Clang jumps there from where control never comes
        if a.reference is None:  # another function in a section that the source chose
            named = _named_place(self.plain, place_b)
            return named is not None and named == _named_place(self.sectioned, a.destination)
        target = a.reference.target
        if isinstance(target, Named):
            return self._same_name(target, b, place_b)
        if b.reference is None:
            return False
        if isinstance(target, Place):
            here = self._sectioned_meanings.target(a.reference, mine.function.name)
            there = self._plain_meanings.target(b.reference, theirs.function.name)
            return _same_beginning(mine.relabel(here), theirs.relabel(there))
        return target == b.reference.target

    def _same_name(self, target: Named, b: Step, place_b: tuple[int, int] | None) -> bool:
        name = target.symbol.name
        if b.reference is not None and isinstance(b.reference.target, Named):
            found = b.reference.target
            if found.symbol.name == name and found.offset == target.offset:
                return True
        defined = self.plain.functions.get(name) or self.plain.data.get(name)
        if defined is None or place_b is None:
            return False
        return place_b == (defined.section, defined.offset + target.offset)


class Labels:
    """Numbers for the places inside one function: the count of instructions before, without
    padding, so that a label on padding is the same as on what follows."""

    def __init__(self, function: Definition, instructions: list[Step]) -> None:
        self.function = function
        self._offsets = [step.offset for step in instructions]

    def number(self, place: tuple[int, int] | None) -> int | None:
        if place is None or place[0] != self.function.section:
            return None
        offset = place[1] - self.function.offset
        return bisect_left(self._offsets, offset) if 0 <= offset < self.function.size else None

    def is_end(self, destination: tuple[int, int] | None) -> bool:
        """Right behind the function."""
        end = self.function.offset + self.function.size
        return destination == (self.function.section, end)

    def relabel(self, meaning: Meaning) -> Meaning:
        """Unnamed data, with places inside the function itself as numbers."""
        name = self.function.name
        if len(meaning) == 3 and meaning[0] == "symbol" and isinstance(meaning[2], int):
            if family(str(meaning[1])) == family(name):
                return ("label", bisect_left(self._offsets, meaning[2]))
            return ("symbol", family(str(meaning[1])), meaning[2])
        if len(meaning) == 3 and meaning[0] == "anonymous" and isinstance(meaning[1], bytes):
            # Sections apart have other alignments, so other zeros at the end count as padding.
            meaning = ("anonymous", meaning[1].rstrip(b"\0"), meaning[2])
        return tuple(self.relabel(m) if isinstance(m, tuple) else m for m in meaning)


def _named_place(view: Relocatable, place: tuple[int, int] | None) -> tuple[str, int] | None:
    symbol = view.covering(*place) if place else None
    return (symbol.name, place[1] - symbol.value) if symbol and place else None


def _same_beginning(here: Meaning, there: Meaning) -> bool:
    """Where unnamed data ends can only be told from its neighbours, and those differ in the two
    forms: what both certainly hold must be equal."""
    if here[0] != "anonymous" or there[0] != "anonymous":
        return here == there
    length = min(len(_body(here)), len(_body(there)))
    return _cut(here, length) == _cut(there, length)


def _cut(meaning: Meaning, length: int) -> Meaning:
    fields = meaning[2]
    inside = [f for f in fields if f[0] < length] if isinstance(fields, tuple) else fields
    return _body(meaning)[:length], inside


def _body(meaning: Meaning) -> bytes:
    return meaning[1] if isinstance(meaning[1], bytes) else b""


def place_of(step: Step, view: Relocatable) -> tuple[int, int] | None:
    """Where an instruction refers to within its own object."""
    if step.reference is None:
        return step.destination
    return None if step.reference.through_got else view.raw_place(step.reference)


def steps(view: Relocatable, function: Definition) -> Iterator[Step]:
    """The instructions of a function without padding; one step for each thing they refer to."""
    code = view.definition_bytes(function)
    references = iter(view.references_of(function))
    reference = next(references, None)
    for instruction in decode(code, function.offset):
        mine = []
        while reference is not None and reference.field < instruction.next_ip:
            if reference.size and reference.type != c.R_X86_64_NONE:
                mine.append(reference)
            reference = next(references, None)
        if instruction.mnemonic != Mnemonic.NOP:
            start = instruction.ip - function.offset
            body = _body_without_fields(code[start : start + instruction.len], instruction, mine)
            found: list[Reference | None] = [*mine] or [None]
            for each in found:
                yield Step(start, body, each, None if each else _destination(function, instruction))


def _body_without_fields(
    code: bytes, instruction: Instruction, references: list[Reference]
) -> bytes | int:
    """Of a branch only the mnemonic: its displacement may be short in one form."""
    if is_near_branch(instruction):
        return int(instruction.mnemonic)
    body = bytearray(code)
    if not references and instruction.is_ip_rel_memory_operand:
        # The assembler resolves what lies in the same section (the address of a static function);
        # with sections apart the same field has a relocation, and is blank.
        at = displacement_offset(code, instruction.ip)
        body[at : at + 4] = bytes(4)
    for reference in references:
        at = reference.field - instruction.ip
        body[at : at + reference.size] = bytes(reference.size)
    return bytes(body)


def _destination(function: Definition, instruction: Instruction) -> tuple[int, int] | None:
    """Where an instruction without relocations goes in its own section."""
    if is_near_branch(instruction):
        return function.section, instruction.near_branch_target
    if instruction.is_ip_rel_memory_operand:
        return function.section, instruction.memory_displacement
    return None
