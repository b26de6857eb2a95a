"""One operation's dealings with one process: commits with patience, and what they cost.

Owns the retries and their back-off, the naming of what was in the way, and the sums for the
report. It decides nothing about hotpatches.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from typing import TYPE_CHECKING

import msgspec

from naht.errors import BusyError, NahtError, TargetRefusedError, ToolError
from naht.live.engine import RetryPolicy
from naht.live.native import procfs
from naht.live.native import record as records
from naht.live.native.clearance import Clearance
from naht.live.native.memory import TargetMemory
from naht.live.native.record import Record
from naht.live.native.remote import Range, Remote, Step, Write

if TYPE_CHECKING:
    from naht._core import CommitResult  # a shape, which the compiled module does not carry


class Session(msgspec.Struct):
    memory: TargetMemory
    remote: Remote
    retry: RetryPolicy
    names: dict[Range, str] = msgspec.field(
        default_factory=dict
    )  # code range → function, for messages
    notes: list[str] = msgspec.field(default_factory=list)
    pause_ns: int = 0
    threads: int = 0
    attempts: int = 0

    def commit(self, step: Step, *, attempts: int | None = None) -> None:
        """Tries until it is done. Raises BusyError when no moment was quiet enough.

        A try that ends with nothing but suspects who are cleared by exact unwinding is followed
        by another one at once, and does not count.
        """
        clearance = Clearance(self.remote, step.quiet)
        wait = self.retry.first_wait_ns
        left = attempts or self.retry.attempts
        while True:
            result = self._attempt(step, clearance)
            if result["outcome"] == "done":
                return
            if clearance.clears_all(result):
                continue
            left -= 1
            if left <= 0:
                raise self._busy(result, clearance)
            time.sleep(wait / 1e9)
            wait = min(wait * 2, self.retry.longest_wait_ns)

    def _attempt(self, step: Step, clearance: Clearance) -> CommitResult:
        timeout = self.retry.stop_timeout_ns
        result = self.remote.commit(step, clearance.certificates, timeout)
        self.attempts += 1
        self.pause_ns, self.threads = result["pause_ns"], result["threads"]
        if result["outcome"] in ("mismatch", "refused", "failed"):
            self._raise(result)
        return result

    def _raise(self, result: CommitResult) -> None:
        pid, address = self.remote.key.pid, result["address"]
        if result["outcome"] == "mismatch":
            raise TargetRefusedError(
                "altered-memory",
                f"Memory of process {pid} is not as planned at {address:#x}{self._name(address)}.",
                "Somebody else changed it meanwhile (another naht, a debugger): run it again.",
                where=f"{address:#x}",
            )
        if result["step"] == "find stack":
            raise TargetRefusedError(
                "hidden-stacks",
                f"Thread {result['thread']} of process {pid} runs on a stack whose bounds "
                "cannot be found, so nobody can prove what is on it.",
                "Use a hotpatch that allows overlap, or restart the process.",
            )
        if result["outcome"] == "refused":
            raise TargetRefusedError(
                "attach-refused",
                f"The kernel refused at {result['step']!r}: {os.strerror(result['error'])}.",
                "Run as root; check for a tracer (TracerPid), yama and security modules.",
            )
        raise ToolError(
            f"Process {pid} could not be changed: {result['step']}: "
            f"{os.strerror(result['error'])} at {address:#x}.",
            "Everything was taken back. Report this with the kernel's version.",
        )

    def _busy(self, result: CommitResult, clearance: Clearance) -> BusyError:
        thread, address = clearance.proven or (result["thread"], result["address"])
        name = procfs.printable(_thread_name(self.remote.key.pid, thread))
        if result["outcome"] == "unstoppable" and result["error"] == errno.ETIMEDOUT:
            return BusyError(
                f"Thread {thread}{name} does not stop: the host does not let it run (overloaded "
                "processors, a control group that has used its share up); nothing was changed "
                f"after {self.attempts} attempts.",
                "Run it again, with more --attempts, or when there is less load.",
            )
        if result["outcome"] == "unstoppable":
            return BusyError(
                f"Thread {thread}{name} does not stop (it waits in the kernel, for a vfork child "
                f"or a device); nothing was changed after {self.attempts} attempts.",
                "Run it again when that wait is over.",
            )
        if result["step"] in ("register", "memory"):
            return BusyError(
                f"Something still points into the hotpatch ({result['step']} at {address:#x}).",
                "Run it again later.",
            )
        how = "is in" if result["step"] == "program counter" else "has on its stack"
        return BusyError(
            f"Busy: thread {thread}{name} {how} {self._function(address)}; nothing was changed "
            f"after {self.attempts} attempts.",
            "Run it again, with more --attempts. If the function never returns (an event loop) "
            "build the hotpatch with --consistency overlap, or restart the process.",
            where=self._function(address),
        )

    def _function(self, address: int) -> str:
        for (start, end), name in self.names.items():
            if start <= address <= end:
                return name
        return f"{address:#x}"

    def _name(self, address: int) -> str:
        name = self._function(address)
        return "" if name.startswith("0x") else f" in {name}"


def _thread_name(pid: int, thread: int) -> bytes:
    try:
        return b" (" + procfs.read_text(pid, f"task/{thread}/comm", 64).strip() + b")"
    except NahtError:  # a name is a courtesy; the thread may be gone
        return b""


def state_write(record: Record, state: int) -> Write:
    return (record.address + records.STATE_OFFSET, struct.pack("<I", state))


def state_expected(record: Record) -> Write:
    """The record's magic, version and state: whoever else works on it would have changed them."""
    return (record.address, records.MAGIC + struct.pack("<II", 1, record.state))


def entry_range(address: int) -> Range:
    """Where no program counter may be while the five bytes at `address` change.

    At the first of them a thread is about to run the entry, whichever it then is.
    """
    return (address + 1, address + 5)
