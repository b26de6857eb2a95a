"""Stops threads, copies their registers and stacks, and steps them instruction by instruction.

While stepping, the true chain of calls is kept as the processor does it: a call adds a return
address, a return takes it away, a signal adds its frame. That needs no unwind tables, so an
unwinder can be held against it at every instruction.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from naht.live.native import procfs
from naht.live.native.call_frames import Snapshot
from naht.live.native.memory import TargetMemory

PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_DETACH = 9, 12, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # __WALL of waitpid(2): threads too
RED_ZONE = 128
_NAMES = (  # struct user_regs_struct, sys/user.h
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
    *("rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base"),
    *("ds", "es", "fs", "gs"),
)
_KEPT = ("rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15")
_CALL = re.compile(
    rb"[\x40-\x4f\x66\x67\xf2\xf3\x3e]*(\xe8|\xff[\x10-\x17\x50-\x57\x90-\x97\xd0-\xd7])"
)
_RETURN = re.compile(rb"[\xf2\xf3]?[\xc2\xc3]")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, data: object = None) -> None:
    if _libc.ptrace(request, thread, None, data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class StoppedThread:
    """A thread under ptrace."""

    def __init__(self, pid: int, thread: int) -> None:
        self.pid = pid
        self.thread = thread
        self._registers = (ctypes.c_ulonglong * len(_NAMES))()

    def registers(self) -> dict[str, int]:
        _ptrace(PTRACE_GETREGS, self.thread, ctypes.addressof(self._registers))
        return dict(zip(_NAMES, self._registers, strict=True))

    def step(self, deliver: int = 0) -> int:
        """Runs one instruction; the signal that stopped it, SIGTRAP when it simply ran."""
        _ptrace(PTRACE_SINGLESTEP, self.thread, deliver)
        _, status = os.waitpid(self.thread, WALL)
        assert os.WIFSTOPPED(status), f"the thread ended with {status:#x}"
        return os.WSTOPSIG(status)


@contextmanager
def stopped(pid: int, thread: int = 0) -> Iterator[StoppedThread]:
    thread = thread or pid
    _ptrace(PTRACE_SEIZE, thread)
    _ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WALL)
    try:
        yield StoppedThread(pid, thread)
    finally:
        with suppress(OSError):
            _ptrace(PTRACE_DETACH, thread)


def snapshot(memory: TargetMemory, stopped: StoppedThread, limit: int = 1 << 23) -> Snapshot:
    """What the core hands out: the stack from the red zone to the end of its mapping."""
    registers = stopped.registers()
    mapping = procfs.mapping_at(procfs.read_maps(stopped.pid), registers["rsp"])
    assert mapping
    return snapshot_in(
        memory, stopped.thread, registers, min(mapping.end, registers["rsp"] + limit)
    )


def snapshot_in(memory: TargetMemory, thread: int, registers: dict[str, int], end: int) -> Snapshot:
    start = registers["rsp"] - RED_ZONE & -8
    kept = {
        name: registers[name] for name in ["rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15"]
    }
    return Snapshot(thread=thread, start=start, stack=memory.read(start, end - start), **kept)


class TrueChain:
    """Follows a stepped thread. `chain` is where it is, then the return addresses, outwards."""

    def __init__(self, memory: TargetMemory, thread: StoppedThread, chain: list[int]) -> None:
        self._memory = memory
        self._thread = thread
        self._returns = chain[:0:-1]  # outermost first
        self.registers = thread.registers()
        assert chain[0] == self.registers["rip"]

    @property
    def chain(self) -> list[int]:
        return [self.registers["rip"], *reversed(self._returns)]

    def step(self) -> None:
        before = self.registers
        code = self._memory.read_up_to(before["rip"], 16)
        caught = self._thread.step()
        if caught == signal.SIGTRAP:
            self._follow(code, before["rip"])
        else:
            self._enter_handler(caught)

    def _follow(self, code: bytes, counter: int) -> None:
        after = self.registers = self._thread.registers()
        if _CALL.match(code):
            self._returns.append(self._memory.unsigned(after["rsp"]))
        elif _RETURN.match(code):
            assert self._returns.pop() == after["rip"], hex(counter)
        elif code.startswith(b"\x0f\x05") and after["rip"] != counter + 2:
            assert self._returns.pop() == after["rip"], "only rt_sigreturn goes elsewhere"

    def _enter_handler(self, number: int) -> None:
        self.registers = self._thread.registers()
        interrupted = self.registers["rip"]
        assert self._thread.step(number) == signal.SIGTRAP
        self.registers = self._thread.registers()
        self._returns += [interrupted, self._memory.unsigned(self.registers["rsp"])]
