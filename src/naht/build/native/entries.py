"""Judges whether the first bytes of an old function can become a jump.

Owns the decoding of the old code around its entry. The jump takes 5 bytes, after `endbr64` if
there is one; nothing but a call of the function may ever land in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from iced_x86 import FlowControl

from naht.build.native.instructions import decode, is_near_branch
from naht.build.native.meaning import Meanings, places_in
from naht.build.native.old_code import OldCode
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Definition, Place, Relocatable
from naht.build.native.same_code import place_of, steps
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c

JUMP_SIZE = 5
ENDBR64 = b"\xf3\x0f\x1e\xfa"
PAGE = 4096


def judge_entry(
    unit: UnitComparison, name: str, old: OldCode, landings: Landings, refusals: Refusals
) -> None:
    function, where = old.function(unit, name), unit.pair.source
    address = old.address(unit, name)
    if function is None or address is None:
        return
    code = old.code(address, function.size)
    skipped = len(ENDBR64) if code.startswith(ENDBR64) else 0
    end = skipped + JUMP_SIZE
    if function.size < end:
        refusals.add(
            "too-short",
            f"{name} in {where} has {function.size} bytes of old code; a jump needs {end}.",
            "Change its callers instead, by a change in each of them.",
            where=where,
        )
        return
    if (address + skipped) % PAGE > PAGE - JUMP_SIZE:
        refusals.add(
            "entry-crosses-page",
            f"The jump at the entry of {name} in {where} would cross a page boundary at "
            f"{address + skipped:#x}, so it can't be written at once.",
            "Change its callers instead, by a change in each of them.",
            where=where,
        )
    if (target := _landing(function, code, end, landings)) is not None:
        refusals.add(
            "entry-targeted",
            f"Old code continues at {name}+{target:#x} in {where}, inside the bytes that the "
            "jump overwrites.",
            "Change its callers instead, by a change in each of them.",
            where=where,
        )


def _landing(function: Definition, code: bytes, end: int, landings: Landings) -> int | None:
    """The first offset in [0, end) that is reached other than by calling the function."""
    found = {*_own_branches(code), *_return_addresses(code, end), *landings.inside(function)}
    return min((offset for offset in found if 0 <= offset < end), default=None)


def _own_branches(code: bytes) -> Iterator[int]:
    """Places that the function itself jumps to; the entry is as whoever calls finds it."""
    for instruction in decode(code, 0):
        if is_near_branch(instruction) and instruction.near_branch_target != 0:
            yield instruction.near_branch_target


def starts_again(code: bytes) -> bool:
    """Whether a loop goes back to the very entry: a round of it would be a call of the new code,
    in the middle of an old call."""
    return any(
        is_near_branch(instruction)
        and instruction.near_branch_target == 0
        and instruction.flow_control != FlowControl.CALL
        for instruction in decode(code, 0)
    )


def _return_addresses(code: bytes, end: int) -> Iterator[int]:
    """Where calls in the overwritten bytes return to."""
    for instruction in decode(code, 0):
        if instruction.ip >= end:
            return
        if instruction.flow_control in (FlowControl.CALL, FlowControl.INDIRECT_CALL):
            yield instruction.next_ip


class Landings:
    """Every place in a unit's code that its code or data points into, other than by decoding the
    function itself: tables of labels, split-off parts, computed gotos."""

    def __init__(self, plain: Relocatable) -> None:
        self.plain = plain

    def inside(self, function: Definition) -> Iterator[int]:
        for section, offset in self._places:
            if section == function.section and function.offset < offset < function.end:
                yield offset - function.offset
        yield from self._own_labels.get(function.name, ())

    @cached_property
    def _places(self) -> frozenset[tuple[int, int]]:
        """Offset 0 of a function is not special here: pointers and tail calls go there."""
        return frozenset({*self._code_places(), *self._data_places()})

    def _code_places(self) -> Iterator[tuple[int, int]]:
        for function in self.plain.functions.values():
            for step in steps(self.plain, function):
                place = place_of(step, self.plain)
                if place is not None and self.plain.is_code(place[0]):
                    yield place

    def _data_places(self) -> Iterator[tuple[int, int]]:
        """Absolute pointers; the PC-relative ones are of tables, whose start must be known."""
        for section in self.plain.elf.sections:
            if section.flags & c.SHF_ALLOC and not section.flags & c.SHF_EXECINSTR:
                for reference in self.plain.references(section.index):
                    place = self.plain.raw_place(reference)
                    if place and not reference.pc_relative and self.plain.is_code(place[0]):
                        yield place

    @cached_property
    def _own_labels(self) -> dict[str, set[int]]:
        """Function → offsets in it that unnamed tables hold, found by who uses the table."""
        meanings = Meanings(self.plain, str)
        found: dict[str, set[int]] = {}
        for function in self.plain.functions.values():
            for reference in self.plain.references_of(function):
                if isinstance(reference.target, Place):
                    meaning = meanings.target(reference, function.name)
                    for name, offset in places_in(meaning):
                        if offset or name == function.name:
                            found.setdefault(name, set()).add(offset)
        return found
