"""Which processes share one address space (CLONE_VM without CLONE_THREAD: vfork children, and
programs that ask for it). Stopping one of them does not stop the others.

Owns finding candidates by facts that one address space cannot have twice, and asking the kernel
(kcmp(2)). Where the kernel has no kcmp, sharing cannot be seen here, and only here: a vfork parent
also shows as a thread that does not stop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cmp_to_key

from naht.errors import NahtError
from naht.live.native import procfs

SYS_KCMP, KCMP_VM = 312, 1
MAX_AGE = 2.0  # seconds
Order = Callable[[int, int], int]  # 0 same, 1 less, 2 greater, -1 unknown

Layout = tuple[int, int]


class AddressSpaces:
    """The processes of one moment, grouped. Build it once for many targets."""

    def __init__(self, pids: Iterable[int] | None = None) -> None:
        self._families: dict[Layout, list[int]] = defaultdict(list)
        self._layouts: dict[int, Layout] = {}
        self._groups: dict[Layout, list[list[int]]] = {}
        for pid in procfs.list_pids() if pids is None else pids:
            self._add(pid)

    def _add(self, pid: int) -> None:
        try:
            stat = procfs.read_stat(pid)
        except NahtError:
            return
        if stat.start_code > 1 and not stat.kernel_thread:  # 1: hidden from this user
            layout = (stat.start_code, stat.start_stack)
            self._families[layout].append(pid)
            self._layouts[pid] = layout

    def __contains__(self, pid: int) -> bool:
        return pid in self._layouts

    def sharers(self, pid: int) -> tuple[int, ...]:
        """The other processes that run in the address space of `pid`."""
        layout = self._layouts.get(pid)
        if layout is None or len(self._families[layout]) < 2:
            return ()
        if layout not in self._groups:
            self._groups[layout] = group_by_order(self._families[layout], _kernel_order())
        group = next((g for g in self._groups[layout] if pid in g), [])
        return tuple(sorted(other for other in group if other != pid))


def sharers_of(pid: int) -> tuple[int, ...]:
    """The other processes in the address space of `pid`.

    What a pass over /proc of a moment ago shows is looked at afresh; its parent and children always
    are, because who shares an address space was nearly always born so a moment ago.
    """
    if recent_address_spaces(pid).sharers(pid) or AddressSpaces(_relatives(pid)).sharers(pid):
        return AddressSpaces().sharers(pid)
    return ()


def _relatives(pid: int) -> list[int]:
    found = [pid, procfs.read_stat(pid).parent]
    for thread in procfs.list_threads(pid):
        try:
            found += map(int, procfs.read_text(pid, f"task/{thread}/children").split())
        except (NahtError, ValueError):
            continue  # the thread ended, or the kernel has no such list
    return found


_recent: tuple[float, AddressSpaces] | None = None


def recent_address_spaces(pid: int) -> AddressSpaces:
    """A grouping at most MAX_AGE old that knows `pid`: one pass over /proc serves many targets."""
    global _recent  # noqa: PLW0603  (a cache; two threads may both fill it, which is harmless)
    now = time.monotonic()
    if _recent is None or now - _recent[0] > MAX_AGE or pid not in _recent[1]:
        _recent = (now, AddressSpaces())
    return _recent[1]


def group_by_order(pids: list[int], order: Order) -> list[list[int]]:
    """Those with the same address space side by side; the kernel's order makes that n log n."""

    def compare(one: int, other: int) -> int:
        return {1: -1, 2: 1}.get(order(one, other), 0)

    ranked = sorted(pids, key=cmp_to_key(compare))
    groups: list[list[int]] = []
    for pid in ranked:
        # Asked again: a process that ended during the sort compares as unknown with any.
        if groups and order(groups[-1][-1], pid) == 0:
            groups[-1].append(pid)
        else:
            groups.append([pid])
    return groups


def _kernel_order() -> Order:
    import ctypes  # noqa: PLC0415  (rarely needed, slow to load)

    libc = ctypes.CDLL(None, use_errno=True)

    def order(one: int, other: int) -> int:
        return int(libc.syscall(SYS_KCMP, one, other, KCMP_VM, 0, 0)) if one != other else 0

    return order
