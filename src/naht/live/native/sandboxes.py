"""Whether a thread's seccomp state lets us borrow it.

Owns the list of system calls that a borrowed thread makes for us, and reading the thread's filters,
which the kernel gives to a tracer alone: the thread stops for an instant, only where it has
filters, and once for each set of them. A verdict is about one thread; others may have others.
"""

from __future__ import annotations

from functools import lru_cache

from naht.errors import HostileInputError
from naht.live.native import procfs, seccomp
from naht.live.native.seccomp import Denial, Judged, Request

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


def judge_thread(pid: int, thread: int) -> Judged:
    """What the thread's seccomp state means for the calls in REQUESTS."""
    status = procfs.read_status(pid, thread)
    if status.seccomp_mode != _MODE_FILTER:
        return Judged(thread, status.seccomp_mode)
    birth = procfs.read_stat(pid, thread).start_time
    try:
        return Judged(thread, _MODE_FILTER, _denials(pid, thread, birth, status.seccomp_filters))
    except OSError as error:
        return Judged(thread, _MODE_FILTER, unread=f"{error.strerror}.")
    except HostileInputError as error:
        return Judged(thread, _MODE_FILTER, unread=error.cause)


@lru_cache(maxsize=4096)
def _denials(pid: int, thread: int, birth: int, count: int) -> tuple[Denial, ...]:
    """Kept per thread and number of filters: a thread can add filters, never take one away."""
    del birth  # it tells this thread from an earlier one with its number
    from naht import _core  # noqa: PLC0415  (the rest of this module works without the C core)

    filters = _core.seccomp_filters(pid, thread)
    if not filters or (count and len(filters) != count):
        raise HostileInputError(
            f"{len(filters)} of its {count} seccomp filters could be read.", "Try again."
        )
    return tuple(seccomp.judge_filters(filters, REQUESTS))
