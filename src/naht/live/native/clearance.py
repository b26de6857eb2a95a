"""Clears threads of the suspicion that a conservative stack scan raised.

A suspect's registers and stack, copied under stop, are unwound exactly while the process runs on. A
chain without any of the quiet ranges becomes a certificate for that very state of the thread; a
chain with one proves the thread busy. Where unwinding is in doubt, the suspicion stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from naht.live.native.recorded import read_records
from naht.live.native.remote import Remote

if TYPE_CHECKING:
    from naht._core import Certificate, CommitResult, Suspect
    from naht.live.native.call_frames import Chain
    from naht.live.native.frame_tables import FrameTables

MOST_ROUNDS = 50  # suspects in ever new states: then only patience helps
MOST_PER_THREAD = 16


class Clearance:
    """What is known of one process's suspects during one commit with its retries."""

    def __init__(self, remote: Remote, quiet: Sequence[tuple[int, int]]) -> None:
        self._remote = remote
        self._quiet = quiet
        self._rounds = 0
        self._per_thread: Counter[int] = Counter()
        self.certificates: list[Certificate] = []
        self.proven: tuple[int, int] | None = None  # thread and address in a quiet range

    @cached_property
    def _tables(self) -> FrameTables:
        from naht.live.native.frame_tables import FrameTables  # noqa: PLC0415  (seldom needed)

        memory, maps = self._remote.memory, self._remote.maps()
        found = (record.payload.unwind_frames for record in read_records(memory, maps))
        return FrameTables(memory, maps, [frames for frames in found if frames])

    def clears_all(self, result: CommitResult) -> bool:
        """Whether every suspect of this try now has a certificate."""
        self.proven = None
        if result["outcome"] != "busy" or result["step"] != "stack" or not result["suspects"]:
            return False
        self._rounds += 1
        cleared = [self._clear(suspect) for suspect in result["suspects"]]
        return all(cleared) and self._rounds <= MOST_ROUNDS

    def _clear(self, suspect: Suspect) -> bool:
        from naht.live.native.call_frames import Snapshot, unwind  # noqa: PLC0415

        thread, registers, start, stack = suspect
        chain = unwind(self._tables, Snapshot(thread, *registers, start, stack)) if stack else None
        if chain is None or self._per_thread[thread] >= MOST_PER_THREAD:
            return False
        if address := self._quiet_counter(chain):
            self.proven = (thread, address)
            return False
        self._per_thread[thread] += 1
        words = [word for pair in chain.words for word in pair]
        self.certificates.append((thread, registers, _mask(chain), words))
        return True

    def _quiet_counter(self, chain: Chain) -> int:
        """The first counter in a quiet range, or 0. A return address may equal a range's end."""
        for counter in chain.counters:
            if any(start <= counter <= end for start, end in self._quiet):
                return counter
        return 0


# DWARF numbers (psABI 3.6.2) in the core's order: rip, rsp, rbp, rbx, r12, r13, r14, r15.
_ORDER = (16, 7, 6, 3, 12, 13, 14, 15)


def _mask(chain: Chain) -> int:
    """Which registers must agree: bit n for the n-th. The counter and stack pointer always."""
    return 3 | sum(1 << n for n, number in enumerate(_ORDER) if number in chain.registers)
