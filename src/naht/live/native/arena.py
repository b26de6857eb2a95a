"""Where a hotpatch goes in a target: the layout of its arena, and a free place near its object.

Pure: works on the image's view and on recorded mappings. It refuses (TargetRefusedError) when there
is no room within reach of a 32-bit displacement, and takes no memory itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from naht.errors import TargetRefusedError
from naht.hotpatch.image import HotpatchImage, LoadedSection
from naht.live.native.procfs import Mapping
from naht.live.native.record import RegionKind

PAGE = 4096
REACH = (1 << 31) - (1 << 20)  # ±2 GiB of a 32-bit displacement, less room for addends
STUB_SIZE = 32
LOWEST_ADDRESS = 0x10000  # vm.mmap_min_addr where it is not raised
HIGHEST_ADDRESS = (1 << 47) - PAGE
GROWTH_ROOM = 1 << 30  # what the heap (upwards) and the stack (downwards) are left to grow
_REGION_OF = {"constant": "rodata", "code": "code", "data": "data"}


class RegionLayout(msgspec.Struct, frozen=True):
    kind: RegionKind
    offset: int  # from the arena's start; a multiple of the page size
    size: int  # whole pages


class ArenaLayout(msgspec.Struct, frozen=True):
    """Regions side by side; `sections` and `stubs` are offsets from the arena's start."""

    regions: tuple[RegionLayout, ...]
    sections: dict[str, int]
    stubs: int  # where the engine's own stubs start, in the code region
    size: int

    def region(self, kind: RegionKind) -> RegionLayout | None:
        return next((r for r in self.regions if r.kind == kind), None)


def lay_out(image: HotpatchImage, record_size: int, stub_count: int) -> ArenaLayout:
    """The record first, then constants, code with the engine's stubs, and writable data."""
    sections: dict[str, int] = {}
    regions = [RegionLayout("record", 0, _whole_pages(record_size))]
    stubs = 0
    for section_kind, kind in (("constant", "rodata"), ("code", "code"), ("data", "data")):
        start = regions[-1].offset + regions[-1].size
        chosen = [s for s in image.sections if s.kind == section_kind]
        end = _place_sections(chosen, start, sections)
        if kind == "code":
            stubs = _align(end, STUB_SIZE)
            end = stubs + stub_count * STUB_SIZE
        if end > start:
            regions.append(RegionLayout(kind, start, _whole_pages(end - start)))  # type: ignore[arg-type]
    return ArenaLayout(tuple(regions), sections, stubs, regions[-1].offset + regions[-1].size)


def _place_sections(chosen: Sequence[LoadedSection], start: int, sections: dict[str, int]) -> int:
    at = start
    for section in chosen:
        # New functions get the alignment that the compiler gives them in a linked object.
        alignment = max(section.alignment, 16 if section.kind == "code" else 1)
        at = _align(at, alignment)
        sections[section.name] = at
        at += section.size
    return at


def find_place(maps: Sequence[Mapping], start: int, end: int, size: int) -> int:
    """A free address for `size` bytes within reach of all of [start, end), nearest below if it can.

    Below comes first, because the heap of an executable grows upwards behind it.
    """
    lowest, highest = max(LOWEST_ADDRESS, end - REACH), min(HIGHEST_ADDRESS, start + REACH)
    fitting = [
        (max(low, lowest), min(high, highest) - size)
        for low, high in _gaps(maps)
        if min(high, highest) - max(low, lowest) >= size
    ]
    below = [last for _, last in fitting if last < start]
    above = [first for first, _ in fitting if first >= end]
    if not below and not above:
        raise TargetRefusedError(
            "no-room-near-object",
            f"No {size} free bytes of address space within 2 GiB of {start:#x}-{end:#x}.",
            "Restart the process with the fixed object on disk.",
        )
    return max(below) & -PAGE if below else _align(min(above), PAGE)


def _gaps(maps: Sequence[Mapping]) -> Iterator[tuple[int, int]]:
    """Free ranges, with a page left free at each end so that no mapping of ours merges."""
    low, grows_up = LOWEST_ADDRESS, False
    for mapping in maps:
        first = low + (GROWTH_ROOM if grows_up else PAGE)
        last = mapping.start - (GROWTH_ROOM if mapping.path == "[stack]" else PAGE)
        if last > first:
            yield first, last
        low, grows_up = mapping.end, mapping.path == "[heap]"
    yield low + (GROWTH_ROOM if grows_up else PAGE), HIGHEST_ADDRESS


def _whole_pages(size: int) -> int:
    return _align(size, PAGE)


def _align(value: int, alignment: int) -> int:
    return (value + alignment - 1) & -alignment
