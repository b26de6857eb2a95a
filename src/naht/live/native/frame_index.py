"""Where the unwind entry of an address is, and reading it.

Owns areas of code with their index: the binary search table of a loaded object (.eh_frame_hdr,
LSB Core 5.0, 10.6.2), or a section without one, walked once. All of it lies in the process and is
hostile: an entry must lie within its own object, and the work for one process has a limit.
Refuses (HostileInputError) encodings that linkers don't write.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from naht.elf import constants as c
from naht.live.native import procfs
from naht.live.native.cfi import (
    MAX_ENTRY,
    OMIT,
    CommonEntry,
    Cursor,
    Entry,
    doubtful,
    parse_common,
    parse_entry,
)
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

MAX_REGISTERED = 1 << 20  # bytes of a section without index
MAX_WORK = 8 << 20  # bytes of entries and code that are looked through for one process
_HEADER = 24  # four bytes and two pointers of at most eight
_KEY_SIZES = {0x3B: 4, 0x3C: 8}  # DW_EH_PE_datarel with sdata4 or sdata8


class Index(Protocol):
    def find(self, address: int) -> int:
        """The address of the entry that may describe `address`."""
        ...


class Area(msgspec.Struct, frozen=True):
    """Code that one table describes, and the range that its entries lie in."""

    start: int
    end: int
    index: Index
    entries: range


class EntryReader:
    """Reads entries of one process. Remembers the common ones."""

    def __init__(self, memory: TargetMemory) -> None:
        self.memory = memory
        self._common: dict[int, CommonEntry] = {}
        self._allowance = MAX_WORK

    def entry(self, area: Area, address: int) -> Entry:
        return self.entry_at(area.index.find(address), area.entries)

    def entry_at(self, at: int, bounds: range) -> Entry:
        content = self.content(at, bounds)
        distance = Cursor(content).unsigned(4)
        if distance == 0:
            raise doubtful("a common entry in place of an entry")
        return parse_entry(content, at + 4, self._common_at(at + 4 - distance, bounds))

    def _common_at(self, at: int, bounds: range) -> CommonEntry:
        if at not in self._common:
            self._common[at] = parse_common(self.content(at, bounds), at + 4)
        return self._common[at]

    def spend(self, work: int) -> None:
        """Tables may be made so that looking through them takes hours."""
        self._allowance -= work
        if self._allowance < 0:
            raise doubtful("more of them than one process needs")

    def content(self, at: int, bounds: range) -> bytes:
        """What stands behind the length field of the entry at `at`."""
        if at not in bounds or at + 4 not in bounds:
            raise doubtful("an entry outside of its object")
        size = Cursor(self.memory.read(at, 4)).unsigned(4)
        # The escape to 64-bit lengths is larger than any bound. Zero ends a section.
        if not 0 < size <= min(MAX_ENTRY, bounds.stop - at - 4):
            raise doubtful("an entry of impossible size")
        self.spend(size)
        return self.memory.read(at + 4, size)


# --- loaded objects ----------------------------------------------------------------------------


def areas_of(reader: EntryReader, elf: LoadedElf) -> Iterator[Area]:
    """None for an object without unwind tables."""
    header = elf.segment(c.PT_GNU_EH_FRAME)
    if header is None:
        return
    index = _SearchTable(reader.memory, elf.bias + header.address, header.memory_size)
    for segment in elf.loads:
        if segment.flags & c.PF_X:
            start = elf.bias + segment.address
            yield Area(start, start + segment.memory_size, index, range(elf.start, elf.end))


class _SearchTable:
    """.eh_frame_hdr. Nothing is read before it is asked."""

    def __init__(self, memory: TargetMemory, address: int, size: int) -> None:
        self._memory = memory
        self._address = address
        self._size = size
        self._opened: tuple[int, int, int] | None = None

    def find(self, address: int) -> int:
        first, count, size = self._opened = self._opened or self._open()
        wanted = address - self._address

        def key(index: int) -> int:
            return self._signed(first + index * 2 * size, size)

        index = bisect_right(range(count), wanted, key=key) - 1
        if index < 0:
            raise doubtful("code before the first entry")
        return self._address + self._signed(first + index * 2 * size + size, size)

    def _open(self) -> tuple[int, int, int]:
        """Address and number of the entries, and the size of each of their two halves."""
        cursor = Cursor(self._memory.read(self._address, min(_HEADER, self._size)), self._address)
        version, pointer, number, table = cursor.take(4)
        size = _KEY_SIZES.get(table)
        if version != 1 or size is None or OMIT in (pointer, number) or number & 0x70:
            raise doubtful("a search table of another kind")
        cursor.pointer(pointer)
        count = cursor.value(number)
        if not 0 <= count <= (self._size - cursor.at) // (2 * size):
            raise doubtful("a search table that is too long")
        return self._address + cursor.at, count, size

    def _signed(self, address: int, size: int) -> int:
        return int.from_bytes(self._memory.read(address, size), "little", signed=True)


# --- sections without an index -----------------------------------------------------------------


class _Single(msgspec.Struct, frozen=True):
    """The index of an area that one entry describes."""

    at: int

    def find(self, address: int) -> int:
        return self.at


def registered_areas(reader: EntryReader, section: int, maps: Sequence[Mapping]) -> Iterator[Area]:
    """The code that a section without index describes, where it really is code."""
    mapping = procfs.mapping_at(maps, section)
    end = min(mapping.end, section + MAX_REGISTERED) if mapping else section
    bounds, at = range(section, end), section
    while size := int.from_bytes(reader.memory.read(at, 4), "little"):
        content = reader.content(at, bounds)
        if Cursor(content).unsigned(4) != 0:
            entry = reader.entry_at(at, bounds)
            code = procfs.mapping_at(maps, entry.start)
            if code and code.executable and entry.end <= code.end:
                yield Area(entry.start, entry.end, _Single(at), bounds)
        at += 4 + size
