"""What a process loads of two builds of one object, compared place by place.

Owns layouts (types, allocated sections, loaded segments) and the ranges whose bytes differ. It
judges nothing: see `running`, which refuses, and the reference proof of distributed packages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from naht.elf import constants as c
from naht.elf.file import ElfFile, Section, Symbol

BUILD_ID_NOTE = ".note.gnu.build-id"
_BLOCK = 4096
_NEAR = 8  # differing bytes this close together count as one range
_NAMED = (c.STT_FUNC, c.STT_OBJECT, c.STT_GNU_IFUNC)


@dataclass(frozen=True, slots=True)
class DifferingRange:
    section: str
    start: int  # link-time addresses
    end: int


def layout_differences(old: ElfFile, running: ElfFile) -> list[str]:
    if old.type != running.type:
        return ["one is position independent and the other is not"]
    olds, runnings = _loaded(old), _loaded(running)
    found = []
    if not runnings:  # section headers can be stripped off; the segments remain
        return _segment_differences(old, running)
    for name in dict.fromkeys((*olds, *runnings)):
        if olds.get(name) != runnings.get(name):
            found.append(f"{name} is {_place(runnings.get(name))}, not {_place(olds.get(name))}")
    return found or _segment_differences(old, running)


def _loaded(elf: ElfFile) -> dict[str, tuple[int, int]]:
    """Name → (address, size); empty when section headers were stripped off."""
    return {
        _unique(section, elf): (section.address, section.size)
        for section in elf.sections
        if section.flags & c.SHF_ALLOC
    }


def _unique(section: Section, elf: ElfFile) -> str:
    return (
        section.name
        if elf.section_by_name[section.name] is section
        else (f"{section.name} ({section.index})")
    )


def _place(where: tuple[int, int] | None) -> str:
    return f"at {where[0]:#x}+{where[1]:#x}" if where else "missing"


def _segment_differences(old: ElfFile, running: ElfFile) -> list[str]:
    olds, runnings = _segments(old), _segments(running)
    return [] if olds == runnings else ["its segments are others"]


def _segments(elf: ElfFile) -> list[tuple[int, int, int]]:
    return [(s.flags, s.address, s.memory_size) for s in elf.segments if s.type == c.PT_LOAD]


def differing_ranges(old: ElfFile, other: ElfFile) -> list[DifferingRange]:
    """Of two objects with one layout; the build-id is left out."""
    found = []
    for section in old.sections:
        if _is_mapped(section) and section.name != BUILD_ID_NOTE:
            place = section.address
            mine, theirs = (e.read_address(place, section.size) for e in (old, other))
            found += [
                DifferingRange(section.name, place + start, place + end)
                for start, end in _runs(mine, theirs)
            ]
    return found


def _is_mapped(section: Section) -> bool:
    """The zeros of thread-local data have an address where something else lies."""
    zeros_of_threads = section.type == c.SHT_NOBITS and section.flags & c.SHF_TLS
    return bool(section.flags & c.SHF_ALLOC and section.size and not zeros_of_threads)


def _runs(mine: bytes, theirs: bytes) -> Iterator[tuple[int, int]]:
    start = end = -1
    for at in _differing_offsets(mine, theirs):
        if start >= 0 and at - end >= _NEAR:
            yield start, end
            start = at
        elif start < 0:
            start = at
        end = at + 1
    if start >= 0:
        yield start, end


def _differing_offsets(mine: bytes, theirs: bytes) -> Iterator[int]:
    for block in range(0, len(mine), _BLOCK):
        one, other = mine[block : block + _BLOCK], theirs[block : block + _BLOCK]
        if one != other:
            for offset, (a, b) in enumerate(zip(one, other, strict=True)):
                if a != b:
                    yield block + offset


class Names:
    """Names of places, by the symbol table of an object that still has one."""

    def __init__(self, elf: ElfFile) -> None:
        self._symbols = sorted(
            (s for s in (*elf.symbols, *elf.dynamic_symbols)
             if s.type in _NAMED and s.size and s.section != c.SHN_UNDEF),
            key=lambda s: (s.value, s.size),
        )  # fmt: skip
        self._starts = [s.value for s in self._symbols]

    def covering(self, start: int, end: int) -> list[str]:
        """Of everything that lies there; where nothing has a name, none."""
        last = bisect_right(self._starts, end - 1)
        return list(dict.fromkeys(s.name for s in self._reaching(start, last)))

    def _reaching(self, start: int, last: int) -> Iterator[Symbol]:
        first = last
        while first and self._symbols[first - 1].value + self._symbols[first - 1].size > start:
            first -= 1
        yield from self._symbols[first:last]
