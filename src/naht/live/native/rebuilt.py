"""Whether the file on disk is the one that is mapped but for its build-id: a package was built
again, and this object came out the same. Then the process runs no old code.

Compares everything that is ever loaded, code, constants and initial data, byte by byte, with the
mapped file itself, which the kernel still holds when it was unlinked. What cannot be read or
understood counts as different.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from naht.elf import constants as c
from naht.elf.file import ElfFile, Segment, find_build_id
from naht.errors import HostileInputError
from naht.live.native.disk import DiskView, open_below
from naht.live.native.procfs import Mapping

MAX_HEAD = 64 << 10
MAX_NOTES = 64 << 10
MAX_COMPARED = 1 << 30
CHUNK = 1 << 20
# Where the section headers are, and how many: nothing of them is loaded (elf.h, Elf64_Ehdr).
_SECTION_HEADER_FIELDS = ((0x28, 0x30), (0x3A, 0x40))

Range = tuple[int, int]


class Contents(msgspec.Struct, frozen=True):
    """What is loaded from a file. `ignored`: ranges that say nothing about what it does."""

    kind: tuple[int, int, int]
    segments: tuple[Segment, ...]
    ignored: tuple[Range, ...]


def is_rebuilt(pid: int, mapping: Mapping, view: DiskView, path: str) -> bool:
    """`mapping`: of the object's file offset 0. `path`: of the file on disk."""
    try:
        mapped = os.open(
            f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}", os.O_RDONLY | os.O_CLOEXEC
        )
    except OSError:  # gone meanwhile, or only root may
        return False
    try:
        on_disk = open_below(view.base, path)
    except OSError:
        os.close(mapped)
        return False
    try:
        return _is_same(mapped, on_disk)
    except (OSError, HostileInputError):
        return False
    finally:
        os.close(mapped)
        os.close(on_disk)


def _is_same(one: int, other: int) -> bool:
    contents = _read_contents(one)
    if contents != _read_contents(other):
        return False
    loads = [s for s in contents.segments if s.type == c.PT_LOAD]
    if sum(s.file_size for s in loads) > MAX_COMPARED:
        return False
    pieces = (piece for segment in loads for piece in _pieces(segment))
    return all(
        _masked(os.pread(one, size, offset), offset, contents.ignored)
        == _masked(os.pread(other, size, offset), offset, contents.ignored)
        for offset, size in pieces
    )


def _read_contents(descriptor: int) -> Contents:
    elf = ElfFile(os.pread(descriptor, MAX_HEAD, 0))
    ignored = (*_SECTION_HEADER_FIELDS, *_build_id_ranges(descriptor, elf.segments))
    return Contents((elf.type, elf.entry, elf.flags), elf.segments, ignored)


def _build_id_ranges(descriptor: int, segments: tuple[Segment, ...]) -> Iterator[Range]:
    for segment in segments:
        if segment.type == c.PT_NOTE and segment.file_size <= MAX_NOTES:
            notes = os.pread(descriptor, segment.file_size, segment.offset)
            if found := find_build_id(notes, segment.alignment):
                start = segment.offset + notes.find(bytes.fromhex(found))
                yield start, start + len(found) // 2


def _pieces(segment: Segment) -> Iterator[tuple[int, int]]:
    end = segment.offset + segment.file_size
    for offset in range(segment.offset, end, CHUNK):
        yield offset, min(CHUNK, end - offset)


def _masked(data: bytes, offset: int, ignored: tuple[Range, ...]) -> bytes:
    end = offset + len(data)
    inside = [(max(a, offset), min(b, end)) for a, b in ignored if a < end and b > offset]
    if not inside:
        return data
    masked = bytearray(data)
    for start, stop in inside:
        masked[start - offset : stop - offset] = bytes(stop - start)
    return bytes(masked)
