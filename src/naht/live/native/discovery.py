"""Which ELF objects a process has loaded, and which processes have loaded a given build-id.

Objects are recognised by what is in memory: the ELF header at the mapping of file offset 0 of each
mapped file, its program headers and its build-id note. Paths are carried for people only, so that
containers, deleted files and memfds make no difference. Every instance counts: dlmopen may load
one build-id several times. Skips silently what is no process with memory (kernel threads, zombies,
the vanished); reports what may not be read. Touches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from naht.domain.build_id import BuildId
from naht.domain.process import LoadedObject, ProcessKey
from naht.elf import constants as c
from naht.elf.file import ElfFile, Segment
from naht.errors import HostileInputError, NahtError, TargetGoneError
from naht.live.native import procfs
from naht.live.native.loaded_elf import LoadedElf, read_loaded_elf
from naht.live.native.memory import PAGE, TargetMemory
from naht.live.native.no_memory import no_memory_refusal
from naht.live.native.procfs import Mapping

MAX_ELVES = 8192
# Parts of a line of /proc/PID/maps, compared as they are: most lines need no parsing.
_FILE_START = b" 00000000 "  # file offset 0
_NO_FILE = b" 00:00 0 "
_PATH_COLUMN = 73  # paths, which the process chooses, never start before (fs/proc/task_mmu.c)


class Instance(msgspec.Struct, frozen=True):
    """One loaded object with its headers; `path` is the raw path, to be opened, not shown."""

    object: LoadedObject
    elf: LoadedElf
    path: str


class FoundProcess(msgspec.Struct, frozen=True):
    key: ProcessKey
    objects: tuple[LoadedObject, ...]  # the instances of the build-id that was looked for


class UnreadableProcess(msgspec.Struct, frozen=True):
    pid: int
    cause: str


class Found(msgspec.Struct, frozen=True):
    processes: tuple[FoundProcess, ...]
    unreadable: tuple[UnreadableProcess, ...]


def find_objects(memory: TargetMemory, maps: Sequence[Mapping]) -> tuple[LoadedObject, ...]:
    """Every loaded object that has a build-id."""
    return tuple(instance.object for instance in find_instances(memory, maps))


def find_instances(memory: TargetMemory, maps: Sequence[Mapping]) -> tuple[Instance, ...]:
    """Every loaded object that has a build-id, by address, with its headers."""
    found: list[Instance] = []
    for elf, mapping in find_elves(memory, maps):
        if elf.build_id is not None:
            found.append(Instance(describe(elf, elf.build_id, mapping), elf, mapping.path))
    return tuple(found)


def find_elves(memory: TargetMemory, maps: Sequence[Mapping]) -> list[tuple[LoadedElf, Mapping]]:
    """Every loaded object, by address; also those without a build-id."""
    found: list[tuple[LoadedElf, Mapping]] = []
    looked_at = 0
    for mapping in maps:
        if mapping.offset or not mapping.inode:
            continue
        # A small object has its header's page mapped again, by its later segments.
        if found and _same_file(found[-1][1], mapping) and mapping.start < found[-1][0].end:
            continue
        elf = _try_elf(memory, mapping.start)
        looked_at += elf is not None
        if looked_at > MAX_ELVES:
            raise HostileInputError(
                f"Process {memory.pid} maps more than {MAX_ELVES} ELF files.",
                "Look at its /proc/PID/maps: no program loads so many.",
            )
        if elf and _code_is_mapped(elf, mapping, maps):
            found.append((elf, mapping))
    return found


def _try_elf(memory: TargetMemory, address: int) -> LoadedElf | None:
    try:
        return read_loaded_elf(memory, address)
    except HostileInputError:
        return None  # a data file, or the ELF of another machine


def _code_is_mapped(elf: LoadedElf, first: Mapping, maps: Sequence[Mapping]) -> bool:
    """Whether the object is loaded, not merely read through mmap as a file."""
    code = next((s for s in elf.loads if s.flags & c.PF_X and s.file_size), None)
    if code is None:
        return False
    mapping = procfs.mapping_at(maps, elf.bias + code.address)
    return bool(mapping and mapping.executable and _belongs(mapping, first, elf, code))


def _belongs(mapping: Mapping, first: Mapping, elf: LoadedElf, code: Segment) -> bool:
    if not mapping.inode:
        return True  # some runtimes move their own code to anonymous huge pages
    offset = mapping.offset + (elf.bias + code.address - mapping.start)
    return _same_file(mapping, first) and offset == code.offset


def _same_file(one: Mapping, other: Mapping) -> bool:
    return one.inode == other.inode and one.device == other.device


def describe(elf: LoadedElf, build_id: BuildId, mapping: Mapping) -> LoadedObject:
    return LoadedObject(
        build_id=build_id,
        bias=elf.bias,
        start=elf.start,
        end=elf.end,
        path=procfs.printable(os.fsencode(mapping.path)),
        device=mapping.device,
        inode=mapping.inode,
    )


def inspect_process(pid: int) -> tuple[ProcessKey, tuple[LoadedObject, ...]]:
    """A process's identity and its loaded objects."""
    with TargetMemory(pid) as memory:
        key = procfs.read_key(pid)
        return key, find_objects(memory, procfs.read_maps(pid))


def find_processes(build_id: BuildId, pids: Iterable[int] | None = None) -> Found:
    """The processes that have `build_id` loaded, in PID order; this process itself excepted."""
    search = _Search(build_id)
    own = os.getpid()
    for pid in sorted(procfs.list_pids() if pids is None else set(pids)):
        if pid != own:
            search.visit(pid)
    return Found(tuple(search.found), tuple(search.unreadable))


class _Search:
    """One pass over many processes. Each one's own memory is asked: a verdict about one process is
    never taken over from another, which could have written over its own copy of a header.
    """

    def __init__(self, build_id: BuildId) -> None:
        self.build_id = build_id
        self.found: list[FoundProcess] = []
        self.unreadable: list[UnreadableProcess] = []

    def visit(self, pid: int) -> None:
        try:
            text = procfs.read_text(pid, "maps")
            if not text:
                self._note_leaderless(pid)
                return
            with TargetMemory(pid) as memory:
                self._visit_memory(memory, text.split(b"\n"))
        except TargetGoneError:
            return
        except NahtError as error:
            self.unreadable.append(UnreadableProcess(pid, error.cause))

    def _visit_memory(self, memory: TargetMemory, lines: list[bytes]) -> None:
        files = self._matching_files(memory, lines)
        if not files:
            return
        key = procfs.read_key(memory.pid)
        maps = procfs.parse_maps(b"\n".join(_lines_of_files(lines, files)))
        loaded = find_objects(memory, maps)
        if matching := tuple(o for o in loaded if o.build_id == self.build_id):
            self.found.append(FoundProcess(key, matching))

    def _matching_files(self, memory: TargetMemory, lines: list[bytes]) -> set[bytes]:
        """Those mapped files, as "device inode", whose first page in memory may be the object's."""
        wanted = bytes.fromhex(self.build_id)
        files = set()
        for line in lines:
            head = line[:_PATH_COLUMN]
            if _FILE_START not in head or _NO_FILE in head:
                continue
            page = memory.read_up_to(int(line[: line.index(b"-")], 16), PAGE)
            if page.startswith(c.ELF_MAGIC) and (wanted in page or _notes_lie_beyond(page)):
                files.add(_file_of(line))
        return files

    def _note_leaderless(self, pid: int) -> None:
        """Kernel threads and zombies have no memory; a leader that left its threads hides it."""
        refusal = no_memory_refusal(pid, procfs.read_stat(pid))
        if refusal is not None and refusal.reason == "leader-exited":
            self.unreadable.append(UnreadableProcess(pid, refusal.cause))


def _file_of(line: bytes) -> bytes:
    return b" ".join(line.split(None, 5)[3:5])


def _lines_of_files(lines: list[bytes], files: set[bytes]) -> list[bytes]:
    """The mappings of these files, and anonymous code, which may be theirs (see _belongs)."""
    return [
        line for line in lines if line and (_file_of(line) in files or _is_anonymous_code(line))
    ]


def _is_anonymous_code(line: bytes) -> bool:
    head = line[:_PATH_COLUMN]
    return _NO_FILE in head and b"x" in head  # no other column before the path can hold an x


@lru_cache(maxsize=512)
def _notes_lie_beyond(page: bytes) -> bool:
    """Whether an object's notes may lie past its first page. A function of that page alone."""
    try:
        segments = ElfFile(page).segments
    except HostileInputError:
        return True
    return any(s.type == c.PT_NOTE and s.offset + s.file_size > len(page) for s in segments)
