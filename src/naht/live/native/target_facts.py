"""Gathers what the preflight rules judge, from /proc and the kernel, for one process.

Owns the I/O only. The one thing here that stops a thread, for an instant, is reading its seccomp
filters, which the kernel gives to a tracer alone; it is done only where there are filters.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache

from naht.errors import HostileInputError, NahtError
from naht.live.native import cgroups, procfs, seccomp
from naht.live.native.address_spaces import sharers_of
from naht.live.native.coroutines import hidden_stack_signs
from naht.live.native.discovery import find_elves
from naht.live.native.memory import PAGE, TargetMemory
from naht.live.native.preflight import Judged, TargetFacts
from naht.live.native.procfs import Mapping
from naht.live.native.seccomp import Request

SYS_MMAP, SYS_MUNMAP, SYS_RT_SIGRETURN = 9, 11, 15
_PRIVATE_ANONYMOUS, _FIXED, _FIXED_NOREPLACE, _NORESERVE = 0x22, 0x10, 0x100000, 0x4000
_PLACES = (_FIXED, _FIXED_NOREPLACE, _FIXED_NOREPLACE | _NORESERVE)
_NO_FILE = (1 << 64) - 1
_MODE_FILTER = 2

# What a borrowed thread is asked to do, for any address and size: take read-only, write-only,
# writable and executable memory, give it back, and return from the frame that we put on its stack.
REQUESTS = (
    *(
        Request(
            f"mmap of {words}",
            SYS_MMAP,
            (None, None, protection, _PRIVATE_ANONYMOUS | place, _NO_FILE, 0),
        )
        for words, protection in (("r--", 1), ("-w-", 2), ("rw-", 3), ("r-x", 5))
        for place in _PLACES
    ),
    Request("munmap", SYS_MUNMAP),
    Request("rt_sigreturn", SYS_RT_SIGRETURN),
)


def gather(
    memory: TargetMemory,
    maps: Sequence[Mapping],
    threads: Sequence[int],
    *,
    quiescent: bool,
) -> TargetFacts:
    """`threads`: those that could be borrowed."""
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
        threads=tuple(judge_thread(pid, thread) for thread in threads),
        sharers=sharers_of(pid),
        hidden_stacks=hidden_stack_signs(memory, elves),
    )


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


def judge_thread(pid: int, thread: int) -> Judged:
    """What the thread's seccomp state means for the calls in REQUESTS."""
    status = procfs.read_status(pid, thread)
    if status.seccomp_mode != _MODE_FILTER:
        return Judged(thread, status.seccomp_mode)
    try:
        filters = _read_filters(pid, thread, status.seccomp_filters)
        denials = seccomp.judge_filters(filters, REQUESTS)
    except OSError as error:
        return Judged(thread, _MODE_FILTER, unread=f"{error.strerror}.")
    except HostileInputError as error:
        return Judged(thread, _MODE_FILTER, unread=error.cause)
    return Judged(thread, _MODE_FILTER, tuple(denials))


def _read_filters(pid: int, thread: int, count: int) -> list[bytes]:
    from naht import _core  # noqa: PLC0415  (the rest of this module works without the C core)

    filters = _core.seccomp_filters(pid, thread)
    if not filters or (count and len(filters) != count):
        raise HostileInputError(
            f"{len(filters)} of its {count} seccomp filters could be read.", "Try again."
        )
    return filters
