"""Which thread of a target can lend itself for a system call or a hook, best first.

The rule is pure and works on facts from /proc; `find_candidates` gathers them. A thread qualifies
only when its stack pointer is on the stack that it was born with, with room below: a coroutine's or
signal handler's stack may be a small piece of the heap with other data right below it. The C core
looks again when the thread is stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from naht.errors import TargetGoneError
from naht.live.native import procfs
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import BlockedCall, Mapping
from naht.live.native.sandboxes import judge_thread

STACK_ROOM = 64 << 10
RESTART_SYSCALL = 219  # what a wait that was interrupted once shows as (restart_syscall(2))
# What a borrowed call may find half-done is what these cannot leave so: a thread that waits in one
# of them is in no allocator, dynamic loader or unwinder code. futex is not among them (it may be
# the wait for such a lock), nor mmap, brk, open or stat (made with such locks held).
PLAIN_CALLS = {
    7: "poll", 23: "select", 34: "pause", 35: "nanosleep", 43: "accept", 45: "recvfrom",
    47: "recvmsg", 61: "wait4", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 208: "io_getevents",
    230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 270: "pselect6", 271: "ppoll",
    281: "epoll_pwait", 288: "accept4", 299: "recvmmsg", 426: "io_uring_enter",
    441: "epoll_pwait2",
}  # fmt: skip
# The loader reads object files with its lock held, so these are plain on pipes and sockets only.
PLAIN_UNLESS_FILE = {0: "read", 19: "readv"}
_NEVER_FILES = ("pipe:[", "socket:[", "anon_inode:", "/dev/pts/", "/dev/tty", "/dev/null")


class ThreadFacts(msgspec.Struct, frozen=True):
    thread: int
    state: str  # as in /proc/PID/stat
    call: BlockedCall | None  # None: it runs
    descriptor: str = ""  # what the first argument of a read refers to, as /proc/PID/fd shows it


class Candidate(msgspec.Struct, frozen=True):
    """A thread to borrow. `stack_floor` is the lowest address that it may use below its stack."""

    thread: int
    stack_floor: int
    stack_end: int
    plain: bool  # waits in a call that can hold no allocator, loader or unwinder lock
    call: int  # the number of the system call that it waits in; -1: none, or it runs


def choose_threads(
    pid: int, maps: Sequence[Mapping], threads: Sequence[ThreadFacts]
) -> tuple[Candidate, ...]:
    """Every thread that qualifies: those in plain calls first, then blocked, then running ones."""
    ranked = []
    for facts in threads:
        stack = home_stack(pid, maps, facts)
        # D cannot be interrupted, Z and X are over, t has another tracer.
        if stack is None or facts.state not in "RST":
            continue
        number = facts.call.number if facts.call else -1
        candidate = Candidate(facts.thread, stack.start, stack.end, is_plain(facts), number)
        rank = (not candidate.plain, facts.state == "T", facts.call is None, facts.thread != pid)
        ranked.append((rank, facts.thread, candidate))
    return tuple(candidate for _, _, candidate in sorted(ranked, key=lambda row: row[:2]))


def is_plain(facts: ThreadFacts) -> bool:
    if facts.call is None or facts.state not in "ST":
        return False
    if facts.call.number in PLAIN_UNLESS_FILE:
        return facts.descriptor.startswith(_NEVER_FILES)
    return facts.call.number in PLAIN_CALLS


def home_stack(pid: int, maps: Sequence[Mapping], facts: ThreadFacts) -> Mapping | None:
    """The stack that the thread was born with, when it is on it and has room."""
    if facts.call is None:
        # Its stack pointer is unknown; only the first thread's stack is known by name.
        return next((m for m in maps if m.path == "[stack]"), None) if facts.thread == pid else None
    pointer = facts.call.stack_pointer
    stack = procfs.mapping_at(maps, pointer)
    if stack is None or pointer - stack.start < STACK_ROOM or stack.permissions != "rw-p":
        return None
    if facts.thread == pid:
        return stack if stack.path == "[stack]" else None
    return stack if _is_thread_stack(maps, stack) else None


def _is_thread_stack(maps: Sequence[Mapping], stack: Mapping) -> bool:
    """Anonymous memory right above a guard, as pthread_create makes it.

    Without a guard, the mapping may have merged with foreign memory below it.
    """
    if stack.inode or stack.path.startswith(("[heap]", "[stack]")):
        return False
    below = procfs.mapping_at(maps, stack.start - 1)
    return below is not None and below.permissions.startswith("---")


def find_candidates(pid: int, maps: Sequence[Mapping], enough: int = 4) -> tuple[Candidate, ...]:
    """Those that qualify and whose seccomp filters allow what we ask for, best first.

    Looks at threads until `enough` of them are in plain calls, or all were seen.
    """
    seen: list[ThreadFacts] = []
    plain = 0
    for facts in _iterate_facts(pid):
        if home_stack(pid, maps, facts) is None or not _is_allowed(pid, facts.thread):
            continue
        seen.append(facts)
        plain += is_plain(facts)
        if plain >= enough:
            break
    return choose_threads(pid, maps, seen)


def qualified_threads(pid: int, maps: Sequence[Mapping]) -> tuple[Candidate, ...]:
    """All that qualify, whatever their seccomp filters say."""
    return choose_threads(pid, maps, tuple(_iterate_facts(pid)))


def _is_allowed(pid: int, thread: int) -> bool:
    try:
        return judge_thread(pid, thread).allows
    except TargetGoneError:
        return False


def _iterate_facts(pid: int) -> Iterator[ThreadFacts]:
    threads = procfs.list_threads(pid)
    for thread in sorted(threads, key=lambda t: t != pid):
        try:
            yield read_facts(pid, thread)
        except TargetGoneError:
            continue  # threads come and go; the process itself is looked at elsewhere


def read_facts(pid: int, thread: int) -> ThreadFacts:
    state = procfs.read_stat(pid, thread).state
    call = procfs.read_blocked_call(pid, thread) if state in "STDt" else None
    if call is not None and call.number == RESTART_SYSCALL:
        call = replace(call, number=_restarted_call(pid, call.program_counter))
    if call is not None and call.number in PLAIN_UNLESS_FILE:
        return ThreadFacts(thread, state, call, _descriptor(pid, call.arguments))
    return ThreadFacts(thread, state, call)


def _restarted_call(pid: int, program_counter: int) -> int:
    """Which call the kernel began again: the code says it, mov $number,%eax; syscall."""
    with TargetMemory(pid) as memory:
        code = memory.read_up_to(program_counter - 7, 7) if program_counter >= 7 else b""
    if len(code) == 7 and code[0] == 0xB8 and code[5:] == b"\x0f\x05":
        return int.from_bytes(code[1:5], "little")
    return RESTART_SYSCALL


def _descriptor(pid: int, arguments: tuple[int, ...]) -> str:
    try:
        # Never stat(): the descriptor may lead to a file system that hangs.
        return os.readlink(f"/proc/{pid}/fd/{arguments[0] & 0xFFFFFFFF}")  # noqa: PTH115
    except (OSError, IndexError):
        return ""
