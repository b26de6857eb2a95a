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
from contextlib import suppress
from typing import Any

import msgspec

from naht.errors import HostileInputError
from naht.live.native import code_sites
from naht.live.native.cfi import Entry, Row, doubtful, row_at
from naht.live.native.discovery import find_elves
from naht.live.native.frame_index import Area, EntryReader, areas_of, registered_areas
from naht.live.native.loaded_elf import LoadedElf, read_loaded_elf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

MAX_KNOWN = 1 << 16  # counters that are remembered
MAX_FUNCTION = 256 << 10  # bytes that are searched for jumps
MAX_JUMPS = 8  # functions on the way of a tail call
PROBE = 32  # what it costs to look at where a jump may go


class Frame(msgspec.Struct, frozen=True):
    """What holds at one program counter."""

    row: Row
    extent: range  # the code that its entry describes
    signal: bool  # made by the kernel: the frame behind it was interrupted, and called nothing
    base: bool = False  # nothing called this
    code: bytes = b""  # from the counter on; only where the frame was interrupted
    target: int = 0  # of its call, where that may be a direct one
    indirect: bool = False  # its call may be an indirect one


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
            with suppress(HostileInputError):  # its code stays unknown
                areas += registered_areas(self._reader, table, maps)
        self._areas = sorted(areas, key=lambda area: area.start)
        self._interrupted: dict[int, Frame] = {}
        self._called: dict[int, Frame] = {}
        self._reached: dict[tuple[int, range], bool] = {}

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
        return Frame(row, entry.extent, entry.common.signal, code=code)

    def _find_called(self, counter: int) -> Frame:
        # A call may be the last instruction of its function: the counter is then another's.
        area = self._area(counter - 1)
        entry, row = self._row(area, counter - 1)
        code = self._memory.read_up_to(counter, code_sites.AHEAD)
        if entry.common.signal:
            if not code_sites.returns_from_signal(code):
                raise doubtful("a signal frame without return from the signal")
            return Frame(row, entry.extent, True)
        if row.is_base and not code_sites.begins_stack(code):
            raise doubtful("an end that is not the beginning of a thread")
        before = self._memory.read(counter - code_sites.CALL_REACH, code_sites.CALL_REACH)
        target = code_sites.call_target(before, counter)
        indirect = code_sites.is_indirect_call(before)
        return Frame(row, entry.extent, False, row.is_base, b"", target, indirect)

    def check_call(self, caller: Frame, callee: Frame) -> None:
        """Refuses when what the caller called cannot have led to the callee."""
        if caller.indirect:
            return
        key = caller.target, callee.extent
        if key not in self._reached:
            _make_room(self._reached)
            self._reached[key] = bool(caller.target) and self._leads_to(*key)
        if not self._reached[key]:
            raise doubtful("a return address behind no call, or behind another one")

    def _leads_to(self, target: int, callee: range) -> bool:
        """Whether code entered at `target` can come into `callee` by jumps: a tail call, a part
        of a function that lies elsewhere, a linkage stub."""
        pending, seen = [target], set[int]()
        while pending and len(seen) < MAX_JUMPS:
            at = pending.pop(0)
            if at in callee:
                return True
            extent = self._entry(self._area(at), at).extent
            if extent.start in seen or len(extent) > MAX_FUNCTION:
                continue
            seen.add(extent.start)
            self._reader.spend(len(extent))
            code = self._memory.read(extent.start, len(extent))
            if code_sites.has_indirect_jump(code):
                return True
            for goal in code_sites.jump_targets(code, extent.start):
                if goal in callee:
                    return True
                if goal not in extent and self._begins_function(goal):
                    pending.append(goal)
        return False

    def _begins_function(self, address: int) -> bool:
        self._reader.spend(PROBE)
        try:
            return self._entry(self._area(address), address).start == address
        except HostileInputError:
            return False

    def _row(self, area: Area, address: int) -> tuple[Entry, Row]:
        entry = self._entry(area, address)
        return entry, row_at(entry, address)

    def _entry(self, area: Area, address: int) -> Entry:
        entry = self._reader.entry(area, address)
        if not area.start <= entry.start <= address < entry.end <= area.end:
            raise doubtful("an entry for other code than it was found for")
        return entry

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


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= MAX_KNOWN:
        known.clear()
