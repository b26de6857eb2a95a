"""Gathers what the preflight rules judge, from /proc and the kernel, for one process.

Owns the I/O only. The one thing here that stops a thread, for an instant, is reading its seccomp
filters, which the kernel gives to a tracer alone; it is done only where there are filters.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache

from naht.errors import HostileInputError, NahtError, TargetGoneError
from naht.live.native import cgroups, procfs
from naht.live.native.address_spaces import sharers_of
from naht.live.native.coroutines import hidden_stack_signs
from naht.live.native.discovery import find_elves
from naht.live.native.memory import PAGE, TargetMemory
from naht.live.native.preflight import TargetFacts
from naht.live.native.procfs import Mapping
from naht.live.native.sandboxes import judge_thread
from naht.live.native.seccomp import Judged
from naht.live.native.threads import qualified_threads

MAX_ASKED = 8


def gather(
    memory: TargetMemory,
    maps: Sequence[Mapping],
    threads: Sequence[int],
    *,
    quiescent: bool,
) -> TargetFacts:
    """`threads`: those that may be borrowed; where there are none, it is asked why."""
    pid = memory.pid
    stat, status = procfs.read_stat(pid), procfs.read_status(pid)
    elves = [elf for elf, _ in find_elves(memory, maps)] if quiescent else []
    return TargetFacts(
        pid=pid,
        stat=stat,
        status=status,
        tracer=name_of(status.tracer),
        elf_class=program_class(pid),
        shadow_stack="shstk" in status.thread_features,
        frozen_group=frozen_group(pid),
        address_space_limit=address_space_limit(procfs.read_text(pid, "limits", 65536)),
        forced_access=forced_access_works(),
        threads=_judge_threads(pid, maps, threads),
        sharers=sharers_of(pid),
        hidden_stacks=hidden_stack_signs(memory, elves),
    )


def _judge_threads(pid: int, maps: Sequence[Mapping], threads: Sequence[int]) -> tuple[Judged, ...]:
    """Where none can be borrowed now, those that could if their filters did not forbid it, then
    any others: they may run just now, and be found waiting a moment later."""
    qualified = [c.thread for c in qualified_threads(pid, maps)] if not threads else []
    chosen = threads or list(dict.fromkeys((*qualified, *procfs.list_threads(pid))))[:MAX_ASKED]
    judged = []
    for thread in chosen:
        try:
            judged.append(judge_thread(pid, thread))
        except TargetGoneError:
            continue  # threads come and go; the process itself is looked at elsewhere
    return tuple(judged)


def name_of(pid: int) -> str:
    if not pid:
        return ""
    try:
        return procfs.read_stat(pid).command
    except NahtError:
        return ""  # it lives in another pid namespace


def program_class(pid: int) -> int:
    """EI_CLASS of the program file, which /proc/PID/exe reaches even when it is deleted."""
    try:
        descriptor = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        head = os.read(descriptor, 5)
    finally:
        os.close(descriptor)
    return head[4] if len(head) == 5 and head.startswith(b"\x7fELF") else 0


def frozen_group(pid: int) -> str:
    try:
        groups = procfs.read_text(pid, "cgroup", 1 << 20).decode("utf-8", "surrogateescape")
    except HostileInputError:
        return ""
    return cgroups.frozen_group(groups, cgroups.own_mounts(), cgroups.read_file)


def address_space_limit(limits: bytes) -> int | None:
    """The soft RLIMIT_AS in bytes, from /proc/PID/limits; None: unlimited."""
    for line in limits.splitlines():
        if line.startswith(b"Max address space"):
            word = line.removeprefix(b"Max address space").split()[0]
            return int(word) if word.isdigit() else None
    return None


@lru_cache(maxsize=1)
def forced_access_works() -> bool:
    """Whether /proc/PID/mem passes page protection, tried on a read-only page of our own.

    Kernels since 6.12 can forbid it (proc_mem.force_override, PROC_MEM_NO_FORCE).
    """
    import mmap  # noqa: PLC0415

    # Of this thread alone: others may look for theirs at the same time.
    name = f"naht-probe-{threading.get_native_id()}"
    file = os.memfd_create(name)
    try:
        os.ftruncate(file, PAGE)
        with mmap.mmap(file, PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as page:
            own = procfs.read_maps(os.getpid())
            address = next((m.start for m in own if m.path.startswith(f"/memfd:{name} ")), 0)
            return _write_own(address, b"naht") and page[:4] == b"naht"
    finally:
        os.close(file)


def _write_own(address: int, data: bytes) -> bool:
    try:
        descriptor = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pwrite(descriptor, data, address) == len(data)
    except OSError:
        return False
    finally:
        os.close(descriptor)
