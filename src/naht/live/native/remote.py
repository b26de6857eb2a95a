"""Acts on one process: borrows a thread for system calls, writes memory, commits under stop.

The thin layer between plans and the C core: it chooses threads, retries, and turns the core's
outcomes into naht's errors. It decides nothing about hotpatches, and keeps no state in the target.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from naht import _core
from naht.domain.process import ProcessKey
from naht.errors import BusyError, NahtError, TargetGoneError, TargetRefusedError, ToolError
from naht.live.native import procfs, threads
from naht.live.native.gadgets import LONGEST_GADGET, Gadgets, find_gadgets
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping
from naht.live.native.threads import Candidate

if TYPE_CHECKING:
    from naht._core import Certificate, CommitResult  # shapes, which the module does not carry

SYS_MMAP, SYS_MUNMAP = 9, 11
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE_ANONYMOUS, MAP_FIXED = 0x22, 0x10
MAP_NORESERVE, MAP_FIXED_NOREPLACE = 0x4000, 0x100000
BORROW_ATTEMPTS = 40
FIRST_THREAD_ATTEMPTS = 4  # 8 ms in all
NO_DESCRIPTOR = (1 << 64) - 1

Call = tuple[str, int, Sequence[int]]

# Stops of several targets would only share the CPU and lengthen each other.
_ONE_STOP_AT_A_TIME = threading.Lock()


Range = tuple[int, int]
Write = tuple[int, bytes]


class Step(msgspec.Struct, frozen=True):
    """One commit, planned: what must hold, what is written, and who must be elsewhere."""

    expected: Sequence[Write]
    writes: Sequence[Write]
    quiet: Sequence[Range] = ()
    still: Sequence[Range] = ()
    unreferenced: Sequence[Range] = ()
    scan_limit: int = 0


class Remote:
    """One process, to act on; `borrow_ns` sums up how long its threads were lent."""

    def __init__(
        self, key: ProcessKey, memory: TargetMemory, maps: Sequence[Mapping], longest_loan_ns: int
    ) -> None:
        self.key = key
        self.longest_loan_ns = longest_loan_ns
        self.away = 0  # a thread that has a call of ours still to make, and then comes back
        self.memory = memory
        self.gadgets: Gadgets = find_gadgets(memory, maps)
        self._code = _code_at(memory, self.gadgets)
        self.main_stack_end = next((m.end for m in maps if m.path == "[stack]"), 0)
        self.borrow_ns = 0

    @property
    def restorers(self) -> Sequence[int]:
        """Where signal handlers return to; a fallback chain is none of the program's own."""
        chain = self.gadgets.signal_return
        return chain if len(chain) == 1 else ()

    def maps(self) -> tuple[Mapping, ...]:
        return procfs.read_maps(self.key.pid)

    def run(
        self, calls: Sequence[Call], *, plain: bool = False, expected: Sequence[Write] = ()
    ) -> list[int]:
        """Runs the calls on one borrowed thread; `plain` asks for one that can hold no lock.

        Each `expected` address must hold its bytes, or nothing runs.
        """
        if self.away:
            raise self._no_time(self.away)
        last = "no thread waits where it could be borrowed"
        for attempt in range(BORROW_ATTEMPTS):
            for candidate in threads.find_candidates(self.key.pid, self.maps()):
                if plain and not self._suits_functions(candidate, attempt):
                    continue
                result = self._borrow(candidate, calls, expected)
                if result["outcome"] == "done":
                    return result["results"]
                last = f"{result['step']}: {os.strerror(result['error'])}"
                if result["outcome"] in ("busy", "unstoppable"):
                    self.away = candidate.thread if result["outcome"] == "unstoppable" else 0
                    raise self._no_time(candidate.thread)
                if result["outcome"] != "unsuitable":
                    self._raise_failure(result["outcome"], last, result["error"])
            time.sleep(min(0.0005 * 2**attempt, 0.05))
        raise TargetRefusedError(
            "no-thread-to-borrow",
            f"No thread of process {self.key.pid} could be borrowed ({last}).",
            "Try again when the process is less busy, or restart it with the fixed object on disk.",
        )

    def _suits_functions(self, candidate: Candidate, attempt: int) -> bool:
        """Preferably the first thread: when a function frees memory (libgcc's do), malloc gives a
        thread that never used it an arena of its own, which stays (glibc's arena_get2)."""
        is_first = candidate.thread == self.key.pid
        return candidate.plain and (is_first or attempt >= FIRST_THREAD_ATTEMPTS)

    def _borrow(
        self, candidate: Candidate, calls: Sequence[Call], expected: Sequence[Write]
    ) -> _core.CallResult:
        result = _core.call(
            pid=self.key.pid, thread=candidate.thread, start_time=self.key.start_time,
            syscall_return=self.gadgets.syscall_return, signal_return=self.gadgets.signal_return,
            calls=calls, expected=[*self._code, *expected], stack_floor=candidate.stack_floor,
            stack_end=candidate.stack_end, timeout_ns=self.longest_loan_ns,
        )  # fmt: skip
        self.borrow_ns += result["pause_ns"]
        return result

    def _no_time(self, thread: int) -> BusyError:
        now = (
            "It still has that call to make, and comes back by itself"
            if self.away
            else "It was put back"
        )
        return BusyError(
            f"Thread {thread} of process {self.key.pid} was borrowed for a system call or a hook, "
            "and does not get on with it: the processors are overloaded, its control group has "
            f"used its share up or is frozen, or it waits in the kernel. {now}.",
            "Run it again when there is less load, or give the process more processor time (its "
            "nice value, systemctl set-property UNIT CPUQuota=). --longest-loan waits longer.",
        )

    def _raise_failure(self, outcome: str, detail: str, error: int) -> None:
        if outcome == "gone" and not _is_alive(self.key):
            raise procfs.gone(self.key.pid)
        if outcome == "gone":
            return  # only that thread ended
        if outcome == "mismatch":
            self.memory.read(self.gadgets.syscall_return, 1)  # raises when it runs another program
            raise TargetRefusedError(
                "altered-memory",
                f"Memory of process {self.key.pid} is not what it was a moment ago.",
                "Somebody else changed it meanwhile (another naht, a debugger): run it again.",
            )
        if outcome == "crashed":
            raise TargetRefusedError(
                "hook-crashed",
                f"A function of the hotpatch raised signal {error} in process {self.key.pid}; "
                "the thread was put back.",
                "Ask the author of the hotpatch to mend its hook.",
            )
        if outcome == "refused":
            raise TargetRefusedError(
                "attach-refused",
                f"The kernel does not let us attach to process {self.key.pid} ({detail}).",
                "Run as root, and check kernel.yama.ptrace_scope and security modules.",
            )
        raise ToolError(
            f"A borrowed thread of process {self.key.pid} failed ({detail}).",
            "The process goes on as before. Report this with the kernel's version.",
        )

    def unmap(self, address: int, size: int, expected: bytes) -> None:
        """`expected` is what the memory must begin with."""
        call = ("syscall", SYS_MUNMAP, (address, size))
        (result,) = self.run([call], expected=[(address, expected)])
        if result:
            raise ToolError(
                f"munmap of {address:#x} in process {self.key.pid}: {os.strerror(-result)}.",
                "The memory stays with the process; nothing runs in it.",
            )

    def write(self, address: int, data: bytes) -> None:
        """Writes through page protection, then reads back."""
        descriptor = self._open_memory(address)
        try:
            error = _core.write(descriptor, address, data)
        finally:
            os.close(descriptor)
        if error or self.memory.read(address, len(data)) != data:
            raise TargetRefusedError(
                "write-refused",
                f"Memory of process {self.key.pid} cannot be written: {os.strerror(error)}.",
                "Allow forced writes to tracers (kernel parameter proc_mem.force_override=ptrace).",
            )

    def _open_memory(self, address: int) -> int:
        """For writing. What was opened is the address space that we know: it still had a user
        afterwards, so no other program had been executed before."""
        try:
            descriptor = os.open(f"/proc/{self.key.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise procfs.as_target_error(self.key.pid, error) from error
        try:
            self.memory.read(address, 1)
        except NahtError:
            os.close(descriptor)
            raise
        return descriptor

    def commit(
        self, step: Step, certificates: Sequence[Certificate], stop_timeout_ns: int
    ) -> CommitResult:
        """One attempt. Raises TargetGoneError; every other outcome is the caller's to judge."""
        with _ONE_STOP_AT_A_TIME:
            result = _core.commit(
                pid=self.key.pid, start_time=self.key.start_time, expected=step.expected,
                writes=step.writes, quiet=merge_ranges(step.quiet), still=sorted(step.still),
                unreferenced=step.unreferenced, restorers=self.restorers,
                certificates=certificates, main_stack_end=self.main_stack_end,
                stop_timeout_ns=stop_timeout_ns, scan_limit=step.scan_limit,
            )  # fmt: skip
        if result["outcome"] == "gone":
            raise procfs.gone(self.key.pid)
        return result


def _code_at(memory: TargetMemory, gadgets: Gadgets) -> list[Write]:
    addresses = {gadgets.syscall_return, gadgets.signal_return[0]}
    return [(address, memory.read_up_to(address, LONGEST_GADGET)) for address in addresses]


def map_call(address: int, size: int, protection: int, flags: int) -> Call:
    chosen = MAP_PRIVATE_ANONYMOUS | flags
    return ("syscall", SYS_MMAP, (address, size, protection, chosen, NO_DESCRIPTOR, 0))


def merge_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted and joined where they touch, as the core's binary search wants them."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _is_alive(key: ProcessKey) -> bool:
    try:
        return procfs.read_stat(key.pid).start_time == key.start_time
    except TargetGoneError:
        return False
