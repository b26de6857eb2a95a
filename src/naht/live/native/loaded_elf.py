"""The headers of an ELF object as they lie in a process's memory.

Owns reading file header, program headers and notes from the first mapping of an object, where the
kernel and the dynamic loader put them. Everything is bounded: a process may write what it likes
over its own headers. It never opens a file and follows no dynamic section (see `dynamic`).
"""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec

from naht.domain.build_id import BuildId
from naht.elf import constants as c
from naht.elf.file import ElfFile, Segment, find_build_id, iterate_notes, malformed
from naht.errors import HostileInputError
from naht.live.native.memory import PAGE, TargetMemory

MAX_HEADERS = 16 << 10  # about 290 program headers; linkers make a dozen
MAX_NOTES = 16 << 10
MAX_NOTE_SEGMENTS = 8
ADDRESS_SPACE = 1 << 47  # user half with four-level page tables; larger only on request (mmap(2))
_HEADER_TABLE = struct.Struct("<32xQ14xHH")  # e_phoff, e_phentsize, e_phnum


class LoadedElf(msgspec.Struct, frozen=True):
    """An object's headers. `bias` is what to add to a link-time address of it."""

    header_address: int
    bias: int
    type: int
    segments: tuple[Segment, ...]
    build_id: BuildId | None
    notes: bytes  # the notes that hold the build-id
    notes_address: int

    @property
    def start(self) -> int:
        return self.bias + (min(s.address for s in self.loads) & -PAGE)

    @property
    def end(self) -> int:
        return self.bias + (max(s.address + s.memory_size for s in self.loads) + PAGE - 1 & -PAGE)

    @property
    def loads(self) -> tuple[Segment, ...]:
        return tuple(s for s in self.segments if s.type == c.PT_LOAD)

    def segment(self, kind: int) -> Segment | None:
        return next((s for s in self.segments if s.type == kind), None)


def read_loaded_elf(memory: TargetMemory, address: int) -> LoadedElf:
    """The object whose file offset 0 is mapped at `address`."""
    first = memory.read_up_to(address, PAGE)
    kind, segments = _parse_headers(first + _further_headers(memory, address, first))
    bias = _bias(segments, address)
    build_id, notes, notes_address = _find_notes(memory, first, address, bias, segments)
    return LoadedElf(address, bias, kind, segments, build_id, notes, notes_address)


@lru_cache(maxsize=256)
def _parse_headers(data: bytes) -> tuple[int, tuple[Segment, ...]]:
    """The ELF type and the segments. Kept, because many processes load the same objects."""
    elf = ElfFile(data)
    return elf.type, elf.segments


def _further_headers(memory: TargetMemory, address: int, first: bytes) -> bytes:
    if len(first) < 64:
        raise malformed("no ELF header in memory")
    offset, entry_size, count = _HEADER_TABLE.unpack_from(first)
    needed = offset + entry_size * count
    if needed <= len(first):
        return b""
    if needed > MAX_HEADERS:
        raise malformed("program headers far from the file header")
    return memory.read(address + len(first), needed - len(first))


def _bias(segments: tuple[Segment, ...], address: int) -> int:
    loads = [s for s in segments if s.type == c.PT_LOAD]
    first = next((s for s in loads if s.offset & -PAGE == 0), None)
    if first is None:
        raise malformed("no segment holds the ELF header")
    bias = address - (first.address & -PAGE)
    for segment in loads:
        end = segment.address + segment.memory_size
        if end > ADDRESS_SPACE or not 0 <= bias + segment.address <= bias + end <= ADDRESS_SPACE:
            raise malformed("a segment leaves the address space")
    if bias < 0:
        raise malformed("negative load bias")
    return bias


def _find_notes(
    memory: TargetMemory, first: bytes, address: int, bias: int, segments: tuple[Segment, ...]
) -> tuple[BuildId | None, bytes, int]:
    for segment in _note_segments(segments):
        at = bias + segment.address
        notes = _read_notes(memory, first, address, at, segment.memory_size)
        if found := find_build_id(notes, segment.alignment):
            return found, notes, at
    return None, b"", 0


def _note_segments(segments: tuple[Segment, ...]) -> list[Segment]:
    notes = [s for s in segments if s.type == c.PT_NOTE and 0 < s.memory_size <= MAX_NOTES]
    return notes[:MAX_NOTE_SEGMENTS]


def _read_notes(memory: TargetMemory, first: bytes, address: int, at: int, size: int) -> bytes:
    offset = at - address
    if offset >= 0 and offset + size <= len(first):  # nearly always on the header's own page
        return first[offset : offset + size]
    try:
        return memory.read(at, size)
    except HostileInputError:
        return b""


def has_go_build_id(memory: TargetMemory, elf: LoadedElf) -> bool:
    """Whether the Go linker made it: a note of owner "Go", type 4 (cmd/link/internal/ld/elf.go)."""
    for segment in _note_segments(elf.segments):
        notes = _read_notes(memory, b"", 0, elf.bias + segment.address, segment.memory_size)
        if any(name == b"Go\0\0" and kind == 4 for name, kind, _ in iterate_notes(notes, 4)):
            return True
    return False
