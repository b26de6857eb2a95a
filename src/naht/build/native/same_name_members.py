"""Tells apart members of a static library that share a name (CMake makes such libraries of sources
in several directories): by the sizes of their sections, in the order in which they were linked.

Refuses where more than one assignment fits, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from naht.build.native.link_map import InputSection
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError

MAX_SAME_NAME = 6  # 1,957 ways to choose and order
_Sizes = Mapping[str, Sequence[int]]


def numbered(member: str, number: int) -> str:
    return f"{member}#{number}" if number else member


def tell_apart(
    member: str, candidates: Sequence[bytes], sections: Sequence[InputSection]
) -> list[InputSection]:
    """The sections that the map gives to `member`, each renamed after its candidate's number."""
    sizes = [_movable_sizes(content) for content in candidates]
    movable = frozenset(name for one in sizes for name in one)
    listed: dict[str, list[InputSection]] = defaultdict(list)
    for section in sections:
        if section.name in movable:
            listed[section.name].append(section)
    fitting = [order for order in _orders(len(candidates)) if _fits(order, sizes, listed)]
    if len(fitting) != 1:
        raise BuildRefusedError(
            "archive-member",
            f"A static library holds several members {member}, and it is unclear which was linked.",
            "Give the sources of the library different names.",
            where=member,
        )
    return [
        replace(section, member=numbered(member, number))
        for name, found in listed.items()
        for section, number in zip(found, _owners(fitting[0], sizes, name), strict=True)
    ]


def _movable_sizes(content: bytes) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for s in ElfFile(content).sections:
        moved = s.type in (c.SHT_PROGBITS, c.SHT_NOBITS) and s.name != ".eh_frame"
        if s.flags & c.SHF_ALLOC and not s.flags & c.SHF_MERGE and moved:
            found[s.name].append(s.size)
    return found


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    if count <= MAX_SAME_NAME:
        for length in range(1, count + 1):
            yield from permutations(range(count), length)


def _owners(order: Sequence[int], sizes: Sequence[_Sizes], name: str) -> list[int]:
    return [number for number in order for _ in sizes[number].get(name, ())]


def _fits(
    order: Sequence[int], sizes: Sequence[_Sizes], listed: Mapping[str, Sequence[InputSection]]
) -> bool:
    names = {name for number in order for name in sizes[number]} | set(listed)
    return all(
        [size for number in order for size in sizes[number].get(name, ())]
        == [section.size for section in listed.get(name, ())]
        for name in names
    )
