"""Which live processes run which objects, which of these are stale against the file on disk, and
which a given hotpatch fits.

Owns the comparison. An object is stale when the file that took its place, as the process itself
sees its file system, has another build-id or is gone. What took its place is the file now at its
path or, when a new version changed that name, the one that the loader would find by the SONAME.
A file that differs in its build-id only has the same code: what runs is not stale. An object
without a build-id is stale when its file was unlinked. What never was a file (a memfd) is never
stale. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec

from naht.domain.build_id import BuildId
from naht.domain.process import (
    HotpatchInProcess,
    LoadedObject,
    ProcessKey,
    ScannedObject,
    ScannedProcess,
)
from naht.errors import HostileInputError, NahtError, TargetGoneError
from naht.live.engine import Progress
from naht.live.native import procfs, recorded, status
from naht.live.native.discovery import describe, find_elves
from naht.live.native.disk import DiskView, disk_build_id, is_file
from naht.live.native.dynamic import DynamicObject
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping
from naht.live.native.rebuilt import is_rebuilt

DELETED = " (deleted)"
_NEVER_ON_DISK = ("/memfd:", "/dev/zero", "/SYSV", "/anon_hugepage", "anon_inode:")


class OnDisk(msgspec.Struct, frozen=True):
    """The file that took an object's place, or where it would be."""

    path: str
    build_id: str  # "" when there is no file, or it has none
    exists: bool


def scan_processes(
    build_id: str = "",
    pids: Iterable[int] | None = None,
    progress: Progress = lambda _done, _total: None,
) -> tuple[ScannedProcess, ...]:
    """Every process with its objects. `build_id`: of the hotpatch whose fit is asked; "" if none.

    A process that may not be read is listed with the reason; kernel threads are not processes.
    """
    scanner = Scanner(build_id)
    chosen = sorted((set(procfs.list_pids()) if pids is None else set(pids)) - {os.getpid()})
    found = []
    for done, pid in enumerate(chosen):
        progress(done, len(chosen))
        found.append(scanner.scan(pid))
    return tuple(process for process in found if process is not None)


class Scanner:
    """One pass, which reads each file on disk once."""

    def __init__(self, build_id: str) -> None:
        self.build_id = build_id
        self._disk: dict[tuple[str, str], OnDisk] = {}
        self._rebuilt: dict[tuple[str, int, str, str], bool] = {}

    def scan(self, pid: int) -> ScannedProcess | None:
        """None for what is gone or has no memory of its own."""
        try:
            stat = procfs.read_stat(pid)
            if stat.kernel_thread or (stat.state in "ZX" and stat.threads <= 1):
                return None
            key, command = ProcessKey(pid, stat.start_time), procfs.read_command(pid)
        except NahtError:
            return None
        try:
            with TargetMemory.of(key) as memory:
                return ScannedProcess(key, command, self._objects(memory))
        except TargetGoneError:
            return None
        except NahtError as error:
            return ScannedProcess(key, command, (), error.cause)

    def _objects(self, memory: TargetMemory) -> tuple[ScannedObject, ...]:
        maps = procfs.read_maps(memory.pid)
        view = DiskView.of(memory.pid)
        hotpatches = _hotpatches(memory, maps)
        return tuple(
            self._judge(memory, view, elf, mapping, hotpatches)
            for elf, mapping in find_elves(memory, maps)
            if not mapping.path.startswith("[")  # the kernel's own
        )

    def _judge(
        self, memory: TargetMemory, view: DiskView, elf: LoadedElf, mapping: Mapping,
        hotpatches: Sequence[tuple[int, HotpatchInProcess]],
    ) -> ScannedObject:  # fmt: skip
        loaded = describe(elf, elf.build_id or BuildId(""), mapping)
        place = self._place(memory, view, elf, mapping.path)
        own = tuple(h for bias, h in hotpatches if _is_of(h, bias, loaded))
        differs = place is not None and _is_other(loaded, mapping.path, place)
        rebuilt = differs and self._is_rebuilt(memory.pid, mapping, view, place)
        return ScannedObject(
            object=loaded,
            disk_build_id=place.build_id if place else "",
            stale=differs and not rebuilt,
            fits=bool(self.build_id) and loaded.build_id == self.build_id,
            applied=tuple(h.id for h in own if h.state == "active"),
            installed_path=procfs.printable(os.fsencode(place.path)) if place else "",
            hotpatches=own,
            rebuilt=rebuilt,
        )

    def _is_rebuilt(self, pid: int, mapping: Mapping, view: DiskView, place: OnDisk | None) -> bool:
        if place is None or not place.build_id:
            return False
        cached = (mapping.device, mapping.inode, view.namespace, place.path)
        if cached not in self._rebuilt:
            self._rebuilt[cached] = is_rebuilt(pid, mapping, view, place.path)
        return self._rebuilt[cached]

    def _place(
        self, memory: TargetMemory, view: DiskView, elf: LoadedElf, path: str
    ) -> OnDisk | None:
        """None when the question makes no sense."""
        if path.startswith(_NEVER_ON_DISK):
            return None
        cached = (view.namespace, path)
        if cached not in self._disk:
            self._disk[cached] = _find_place(memory, view, elf, path)
        return self._disk[cached]


def _find_place(memory: TargetMemory, view: DiskView, elf: LoadedElf, path: str) -> OnDisk:
    # The kernel's mark for an unlinked file; a file may also really be called so.
    plain = path.removesuffix(DELETED)
    for candidate in dict.fromkeys((path, plain, _by_soname(memory, elf, plain))):
        if candidate and is_file(view, candidate):
            return OnDisk(candidate, disk_build_id(view, candidate) or "", True)
    return OnDisk(plain, "", False)


def _by_soname(memory: TargetMemory, elf: LoadedElf, path: str) -> str:
    """Where the loader would look today: new versions may change the name behind the SONAME."""
    try:
        name = DynamicObject(memory, elf).soname.decode("ascii")
    except (HostileInputError, UnicodeDecodeError):
        return ""
    return path.rpartition("/")[0] + "/" + name if name and "/" not in name else ""


def _is_other(loaded: LoadedObject, path: str, place: OnDisk) -> bool:
    if loaded.build_id:
        return place.build_id != loaded.build_id
    return not place.exists or place.path != path


def _is_of(hotpatch: HotpatchInProcess, bias: int, loaded: LoadedObject) -> bool:
    return hotpatch.build_id == loaded.build_id and bias == loaded.bias


def _hotpatches(
    memory: TargetMemory, maps: Sequence[Mapping]
) -> tuple[tuple[int, HotpatchInProcess], ...]:
    """What the process's records truly come to, each with its object's bias."""
    if not recorded.record_mappings(maps):
        return ()
    biases = {r.address: r.payload.bias for r in recorded.read_records(memory, maps)}
    found = status.read_hotpatches(memory)
    return tuple((biases[h.record_address], h) for h in found if h.record_address in biases)
