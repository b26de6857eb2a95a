"""Threads that an operation borrowed and could not wait for, because nothing let them run.

Owns finding them and waiting for them: until such a thread has made its call and has returned by
way of its signal frame, memory that the call speaks of must not be taken for another use. A process
that no operation has visited is not asked. It stops nothing and changes nothing.
"""

from __future__ import annotations

import time

from naht.errors import BusyError, TargetGoneError
from naht.live.engine import RetryPolicy
from naht.live.native import procfs

_FAULTS = (4, 5, 7, 8, 11, 31)  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS
_NEVER_BLOCKED = (9, 19)  # SIGKILL, SIGSTOP
LENT_MASK = (1 << 64) - 1 & ~sum(1 << signal - 1 for signal in (*_FAULTS, *_NEVER_BLOCKED))
"""What a borrowed thread blocks (csrc/core/call.c). No C library lets a program do the same: glibc
and musl keep 32 and 33 open, which they use themselves, or block the faults as well."""


def wait_for_loans(pid: int, retry: RetryPolicy) -> None:
    """BusyError when a thread does not come back in the time for any quiet moment."""
    wait = retry.first_wait_ns
    for left in reversed(range(retry.attempts)):
        away = find_lent_threads(pid)
        if not away:
            return
        if left:
            time.sleep(wait / 1e9)
            wait = min(wait * 2, retry.longest_wait_ns)
    raise BusyError(
        f"Thread {away[0]} of process {pid} has still a call to make for an earlier operation, and "
        "nothing has let it run since.",
        "Run it again when there is less load, or give the process more processor time.",
    )


def find_lent_threads(pid: int) -> list[int]:
    return [thread for thread in procfs.list_threads(pid) if _is_lent(pid, thread)]


def _is_lent(pid: int, thread: int) -> bool:
    try:
        return procfs.read_status(pid, thread).blocked_signals == LENT_MASK
    except TargetGoneError:
        return False
