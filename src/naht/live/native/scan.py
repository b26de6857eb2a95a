"""Which live processes run which objects, which of these are stale against the file on disk, and
which a given hotpatch fits.

Owns the comparison. An object is stale when the file now at its path, as the process itself sees
its file system, has another build-id or is gone. What never was a file (a memfd) is never stale.
Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from naht.domain.process import HotpatchInProcess, ProcessKey, ScannedObject, ScannedProcess
from naht.errors import NahtError, TargetGoneError
from naht.live.native import procfs, recorded, status
from naht.live.native.discovery import Instance, find_instances
from naht.live.native.disk import DiskView, disk_build_id
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

_DELETED = " (deleted)"
_NEVER_ON_DISK = ("/memfd:", "/dev/zero", "/SYSV", "/anon_hugepage", "anon_inode:")


def scan_processes(build_id: str = "") -> tuple[ScannedProcess, ...]:
    """Every process with its objects. `build_id`: of the hotpatch whose fit is asked; "" if none.

    A process that may not be read is listed with the reason; kernel threads are not processes.
    """
    scanner = Scanner(build_id)
    own = os.getpid()
    found = [scanner.scan(pid) for pid in sorted(procfs.list_pids()) if pid != own]
    return tuple(process for process in found if process is not None)


class Scanner:
    """One pass, which reads each file on disk once."""

    def __init__(self, build_id: str) -> None:
        self.build_id = build_id
        self._disk: dict[tuple[str, str, str], str] = {}

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
        hotpatches, biases = _hotpatches(memory, maps)
        return tuple(
            self._judge(view, instance, hotpatches, biases)
            for instance in find_instances(memory, maps)
        )

    def _judge(
        self, view: DiskView, instance: Instance, hotpatches: Sequence[HotpatchInProcess],
        biases: dict[int, int],
    ) -> ScannedObject:  # fmt: skip
        loaded = instance.object
        on_disk = self._on_disk(view, instance.path)
        return ScannedObject(
            object=loaded,
            disk_build_id=on_disk or "",
            stale=on_disk is not None and on_disk != loaded.build_id,
            fits=bool(self.build_id) and loaded.build_id == self.build_id,
            applied=status.active_ids(hotpatches, biases, loaded),
        )

    def _on_disk(self, view: DiskView, path: str) -> str | None:
        """The build-id of the file at the path, "" when it is gone or has none, None when the
        question makes no sense."""
        if path.startswith(_NEVER_ON_DISK):
            return None
        cached = (view.namespace, view.root, path)
        if cached not in self._disk:
            self._disk[cached] = _read_disk(view, path)
        return self._disk[cached]


def _read_disk(view: DiskView, path: str) -> str:
    found = disk_build_id(view, path)
    # The kernel's mark for an unlinked file; a file may also really be called so.
    if found is None and path.endswith(_DELETED):
        found = disk_build_id(view, path.removesuffix(_DELETED))
    return found or ""


def _hotpatches(
    memory: TargetMemory, maps: Sequence[Mapping]
) -> tuple[tuple[HotpatchInProcess, ...], dict[int, int]]:
    if not recorded.record_mappings(maps):
        return (), {}
    biases = {r.address: r.payload.bias for r in recorded.read_records(memory, maps)}
    return status.read_hotpatches(memory), biases
