"""Finds what unwinding must know about a program counter of one process, and remembers it.

Owns the way from an address to its object, through the object's binary search table
(.eh_frame_hdr, LSB Core 5.0, 10.6.2), to the row that holds there, and the check of both against
the code. Covers files that are loaded, the vDSO, and tables that were registered for hotpatches.
Refuses (HostileInputError) what lies in no known code: memory made at run time has no tables that
could be trusted. It reads while the process runs; code and tables of loaded objects stand still.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from naht.errors import HostileInputError
from naht.live.native import code_sites
from naht.live.native.cfi import Entry, Row, doubtful, row_at
from naht.live.native.discovery import find_elves
from naht.live.native.frame_index import Area, EntryReader, areas_of, registered_areas
from naht.live.native.loaded_elf import LoadedElf, read_loaded_elf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

MAX_KNOWN = 1 << 16  # counters that are remembered


@dataclass(frozen=True, slots=True)
class Frame:
    """What holds at one program counter."""

    row: Row
    signal: bool  # made by the kernel: the frame behind it was interrupted, and called nothing
    base: bool  # nothing called this
    code: bytes  # from the counter on; only where the frame was interrupted


class FrameTables:
    """The unwind tables of one process. `registered` are addresses of .eh_frame sections that are
    in no object, such as the record of a hotpatch names."""

    def __init__(
        self, memory: TargetMemory, maps: Sequence[Mapping], registered: Sequence[int] = ()
    ) -> None:
        self._memory = memory
        self._reader = EntryReader(memory)
        areas = [area for elf in _elves(memory, maps) for area in areas_of(self._reader, elf)]
        for table in registered:
            areas += registered_areas(self._reader, table, maps)
        self._areas = sorted(areas, key=lambda area: area.start)
        self._interrupted: dict[int, Frame] = {}
        self._called: dict[int, Frame] = {}

    def interrupted(self, counter: int) -> Frame:
        """The frame that stopped just before the instruction at `counter`."""
        if counter not in self._interrupted:
            _make_room(self._interrupted)
            self._interrupted[counter] = self._find_interrupted(counter)
        return self._interrupted[counter]

    def called(self, counter: int) -> Frame:
        """The frame whose call will return to `counter`."""
        if counter not in self._called:
            _make_room(self._called)
            self._called[counter] = self._find_called(counter)
        return self._called[counter]

    def _find_interrupted(self, counter: int) -> Frame:
        area = self._area(counter)
        entry, row = self._row(area, counter)
        if row.is_base:
            raise doubtful("a thread that has not begun yet, or is ending")
        code = self._memory.read_up_to(counter, min(code_sites.AHEAD, area.end - counter))
        return Frame(row, entry.common.signal, False, code)

    def _find_called(self, counter: int) -> Frame:
        # A call may be the last instruction of its function: the counter is then another's.
        area = self._area(counter - 1)
        entry, row = self._row(area, counter - 1)
        code = self._memory.read_up_to(counter, code_sites.AHEAD)
        if entry.common.signal:
            if not code_sites.returns_from_signal(code):
                raise doubtful("a signal frame without return from the signal")
            return Frame(row, True, False, b"")
        self._check_call(area, counter)
        if row.is_base and not code_sites.begins_stack(code):
            raise doubtful("an end that is not the beginning of a thread")
        return Frame(row, False, row.is_base, b"")

    def _check_call(self, area: Area, counter: int) -> None:
        if counter - code_sites.CALL_REACH < area.start:
            raise doubtful("a return address at the beginning of code")
        before = self._memory.read(counter - code_sites.CALL_REACH, code_sites.CALL_REACH)
        target = code_sites.call_target(before, counter)
        if code_sites.is_indirect_call(before):
            return
        if target is None:
            raise doubtful("a return address behind no call")
        self._area(target)

    def _row(self, area: Area, address: int) -> tuple[Entry, Row]:
        entry = self._reader.entry(area, address)
        if not area.start <= entry.start <= address < entry.end <= area.end:
            raise doubtful("an entry for other code than it was found for")
        return entry, row_at(entry, address)

    def _area(self, address: int) -> Area:
        index = bisect_right(self._areas, address, key=lambda area: area.start) - 1
        if index < 0 or address >= self._areas[index].end:
            raise doubtful("code of no object")
        return self._areas[index]


def _elves(memory: TargetMemory, maps: Sequence[Mapping]) -> Iterator[LoadedElf]:
    yield from (elf for elf, _ in find_elves(memory, maps))
    for mapping in maps:
        if mapping.path == "[vdso]":  # an object that is in no file; the kernel alone names it so
            try:
                yield read_loaded_elf(memory, mapping.start)
            except HostileInputError:
                continue


def _make_room(known: dict[int, Frame]) -> None:
    if len(known) >= MAX_KNOWN:
        known.clear()
