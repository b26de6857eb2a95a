"""The C core: what happens while a thread of a target is stopped, and nothing more.

Every function attaches, works and detaches by itself; none leaves a tracer behind. The interpreter
lock is released meanwhile. Failures that are expected come back as outcomes, not exceptions;
OSError is for the rest. Addresses and sizes are in the target; times are nanoseconds.
"""

from collections.abc import Sequence
from typing import TypedDict

FrameRegisters = tuple[int, int, int, int, int, int, int, int]
"""rip, rsp, rbp, rbx, r12, r13, r14, r15."""
Suspect = tuple[int, FrameRegisters, int, bytes]
"""Thread, registers, and a copy of its stack from an address on; empty where it cannot be had."""
Certificate = tuple[int, FrameRegisters, int, Sequence[int]]
"""Thread, registers, which of them must agree (bit n for the n-th), and the stack words (address,
value, address, value…) of an exact unwinding."""

class CommitResult(TypedDict):
    outcome: str  # done | busy | mismatch | unstoppable | gone | refused | failed
    thread: int  # the thread that was in the way, or 0
    address: int  # the program counter, return address or memory that was in the way
    error: int  # errno where the kernel refused
    step: str  # what was being done
    threads: int  # how many were stopped
    pause_ns: int  # first stop to last resume
    stacks_bytes: int  # stack memory that was scanned
    suspects: list[Suspect]  # threads that the conservative scan could not clear

class CallResult(TypedDict):
    outcome: str  # done | unsuitable | mismatch | gone | refused | failed | crashed | busy: it
    # hardly ran, and was put back | unstoppable: it hardly ran, and comes back by itself
    results: list[int]  # the value of each call that ran, as signed 64-bit
    error: int
    step: str
    pause_ns: int

def commit(
    pid: int,
    start_time: int,
    expected: Sequence[tuple[int, bytes]],
    writes: Sequence[tuple[int, bytes]],
    quiet: Sequence[tuple[int, int]],
    still: Sequence[tuple[int, int]],
    unreferenced: Sequence[tuple[int, int]],
    restorers: Sequence[int],
    certificates: Sequence[Certificate],
    main_stack_end: int,
    stop_timeout_ns: int,
    scan_limit: int,
) -> CommitResult:
    """Stops every thread, checks, writes, lets go.

    Checks: each `expected` address holds its bytes; no program counter, nor any word of a used
    stack, lies in a `quiet` half-open range (a return address may equal its end); no program
    counter lies in a `still` range; no register and no byte sequence in writable private memory
    (at most `scan_limit` bytes are read) points into an `unreferenced` range. Writes happen in
    order, each atomically as far as the tracer's death is concerned, and only when every check has
    passed. Threads that a certificate describes exactly are not scanned.
    """

def call(
    pid: int,
    thread: int,
    start_time: int,
    syscall_return: int,
    signal_return: Sequence[int],
    calls: Sequence[tuple[str, int, Sequence[int]]],
    expected: Sequence[tuple[int, bytes]],
    stack_floor: int,
    stack_end: int,
    timeout_ns: int,
) -> CallResult:
    """Runs calls on one thread: ("syscall", number, args) or ("function", address, args).

    Each call stands on a signal frame that restores the thread by itself, should we die.
    `syscall_return` is the address of `syscall; ret`; `signal_return` the return chain (words)
    that performs rt_sigreturn on the frame behind it. Stops early at the first negative
    result of a system call. Nothing runs unless each `expected` address holds its bytes once the
    thread is stopped: a program that was executed meanwhile is another one. The thread must be on
    its stack between `stack_floor` and `stack_end`. `timeout_ns` limits the whole loan; half of
    that, and a second at most, is the thread's own time: being runnable, but not running, is none.
    """

def write(memory: int, address: int, data: bytes) -> int:
    """Writes through page protection without stopping anything. Returns 0 or an errno.

    `memory` is a descriptor of /proc/PID/mem, open for writing.
    """

def seccomp_filters(pid: int, thread: int) -> list[bytes]:
    """The classic BPF programs of the thread's seccomp filters, newest first. Raises OSError."""
