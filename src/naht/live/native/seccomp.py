"""What a target's seccomp filters would do to the system calls that we ask one of its threads for.

Runs classic BPF (the kernel's seccomp subset, net/core/filter.c and kernel/seccomp.c) over calls
whose arguments may be unknown: where a filter looks at an unknown word, both ways are followed, so
that the answer holds for every address. Pure and bounded; it refuses programs the kernel would not
have taken, and calls that are not surely allowed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

import msgspec

from naht.errors import HostileInputError

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
MAX_STATES = 20_000
AUDIT_ARCH_X86_64 = 0xC000003E
DATA_WORDS = 16  # struct seccomp_data: nr, arch, instruction pointer, six arguments

RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP = 0x80000000, 0, 0x00030000
RET_ERRNO, RET_USER_NOTIF, RET_TRACE = 0x00050000, 0x7FC00000, 0x7FF00000
RET_LOG, RET_ALLOW = 0x7FFC0000, 0x7FFF0000
ACTION_MASK = 0xFFFF0000
_ACTION_NAMES = {
    RET_KILL_PROCESS: "kill the process", RET_KILL_THREAD: "kill the thread",
    RET_TRAP: "raise SIGSYS", RET_ERRNO: "return an error", RET_TRACE: "ask a tracer",
    RET_USER_NOTIF: "ask a supervisor", RET_LOG: "allow and log", RET_ALLOW: "allow",
}  # fmt: skip
_WORD = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("<HBBI")

# Instruction codes: class | size or operation | mode or source (uapi linux/bpf_common.h).
_LOAD_DATA, _LOAD_LENGTH, _LOAD_X_LENGTH = 0x20, 0x80, 0x81
_LOAD_VALUE, _LOAD_X_VALUE, _LOAD_MEMORY, _LOAD_X_MEMORY = 0x00, 0x01, 0x60, 0x61
_STORE, _STORE_X, _TO_X, _TO_A = 0x02, 0x03, 0x07, 0x87
_RETURN_VALUE, _RETURN_A, _JUMP, _NEGATE = 0x06, 0x16, 0x05, 0x84
_FROM_X = 0x08


class Request(msgspec.Struct, frozen=True):
    """A system call to be made; an argument of None may have any value."""

    name: str
    number: int
    arguments: tuple[int | None, ...] = (None,) * 6

    @property
    def words(self) -> tuple[int | None, ...]:
        """The call as struct seccomp_data; where the call is made from is left open."""
        padded = (*self.arguments, *(None,) * 6)[:6]
        halves = [
            half
            for a in padded
            for half in ((None, None) if a is None else (a & _WORD, a >> 32 & _WORD))
        ]
        return (self.number, AUDIT_ARCH_X86_64, None, None, *halves)


class Denial(msgspec.Struct, frozen=True):
    request: Request
    action: int | None  # None: the filter computes it from something unknown

    @property
    def description(self) -> str:
        if self.action is None:
            return f"{self.request.name}: not known"
        # The kernel treats an action that it does not know as the worst one (seccomp(2)).
        action = _ACTION_NAMES.get(self.action & ACTION_MASK, "kill the process")
        return f"{self.request.name}: {action}"


class Judged(msgspec.Struct, frozen=True):
    """What a thread's seccomp filters say. `unread` is why they could not be read."""

    thread: int
    mode: int  # 0 none, 1 strict, 2 filter
    denials: tuple[Denial, ...] = ()
    unread: str = ""

    @property
    def allows(self) -> bool:
        return self.mode == 0 or (self.mode == 2 and not self.denials and not self.unread)


def judge_filters(filters: Sequence[bytes], requests: Iterable[Request]) -> list[Denial]:
    """The requests that some filter would not surely let through. All filters must allow."""
    denials = []
    for request in requests:
        for program in filters:
            wrong = [a for a in possible_results(program, request.words) if not is_permission(a)]
            if wrong:
                denials.append(Denial(request, wrong[0]))
                break
    return denials


def is_permission(result: int | None) -> bool:
    return result is not None and result & ACTION_MASK in (RET_ALLOW, RET_LOG)


def evaluate(program: bytes, words: Sequence[int]) -> int:
    """The filter's 32-bit result for a call that is known in full."""
    (result,) = possible_results(program, words)
    if result is None:
        raise _invalid("it reads what it never set")
    return result


def possible_results(program: bytes, words: Sequence[int | None]) -> frozenset[int | None]:
    """Every result that the filter may come to; None stands for a result that is not known."""
    if len(words) != DATA_WORDS:
        raise ValueError("struct seccomp_data has 16 words")
    return _Machine(_decode(program), tuple(words)).run()


Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def _decode(program: bytes) -> tuple[Instruction, ...]:
    count, rest = divmod(len(program), _INSTRUCTION.size)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise _invalid("impossible length")
    return tuple(_INSTRUCTION.iter_unpack(program))


class _State(msgspec.Struct, frozen=True):
    """The machine before the instruction at `at`. None is an unknown value."""

    at: int
    a: int | None
    x: int | None
    memory: tuple[int | None, ...]


class _Machine:
    """Follows every path. Jumps go forward only, so that each path ends."""

    def __init__(self, program: tuple[Instruction, ...], words: tuple[int | None, ...]) -> None:
        self.program = program
        self.words = words
        self.results: set[int | None] = set()

    def run(self) -> frozenset[int | None]:
        waiting = [_State(0, 0, 0, (0,) * 16)]
        seen: set[_State] = set()
        while waiting:
            state = waiting.pop()
            if state in seen:
                continue
            seen.add(state)
            if len(seen) > MAX_STATES:
                raise _invalid("too many ways through it")
            if state.at >= len(self.program):
                raise _invalid("it runs off its end")
            waiting += self._step(state)
        return frozenset(self.results)

    def _step(self, s: _State) -> tuple[_State, ...]:
        code, if_true, if_false, value = self.program[s.at]
        following = s.at + 1
        if code in (_RETURN_VALUE, _RETURN_A):
            self.results.add(value if code == _RETURN_VALUE else s.a)
            return ()
        if code == _JUMP:
            return (_State(following + value, s.a, s.x, s.memory),)
        if code & 7 == 5:
            return self._branch(s, code, (if_true, if_false), value)
        if code in (_STORE, _STORE_X):
            memory = list(s.memory)
            memory[_slot(value)] = s.a if code == _STORE else s.x
            return (_State(following, s.a, s.x, tuple(memory)),)
        a, x = self._compute(s, code, value)
        return (_State(following, a, x, s.memory),)

    def _branch(
        self, s: _State, code: int, jumps: tuple[int, int], value: int
    ) -> tuple[_State, ...]:
        operand = s.x if code & _FROM_X else value
        outcome = _compare(code & 0xF0, s.a, operand)
        ways = (True, False) if outcome is None else (outcome,)
        return tuple(
            _State(s.at + 1 + (jumps[0] if way else jumps[1]), s.a, s.x, s.memory) for way in ways
        )

    def _compute(self, s: _State, code: int, value: int) -> tuple[int | None, int | None]:
        """The new A and X."""
        if code == _LOAD_DATA:
            return self._data(value), s.x
        if code & 7 == 4:
            return _arithmetic(code & 0xF0, s.a, s.x if code & _FROM_X else value), s.x
        simple: dict[int, tuple[int | None, int | None]] = {
            _LOAD_VALUE: (value, s.x), _LOAD_X_VALUE: (s.a, value),
            _LOAD_LENGTH: (DATA_WORDS * 4, s.x), _LOAD_X_LENGTH: (s.a, DATA_WORDS * 4),
            _TO_X: (s.a, s.a), _TO_A: (s.x, s.x),
        }  # fmt: skip
        if code in simple:
            return simple[code]
        if code == _LOAD_MEMORY:
            return s.memory[_slot(value)], s.x
        if code == _LOAD_X_MEMORY:
            return s.a, s.memory[_slot(value)]
        raise _invalid(f"instruction {code:#x}")

    def _data(self, offset: int) -> int | None:
        if offset % 4 or offset >= DATA_WORDS * 4:
            raise _invalid(f"it reads at offset {offset}")
        return self.words[offset // 4]


def _slot(value: int) -> int:
    if value >= 16:  # BPF_MEMWORDS
        raise _invalid(f"memory word {value}")
    return value


def _compare(operation: int, a: int | None, operand: int | None) -> bool | None:
    if operation not in (0x10, 0x20, 0x30, 0x40):
        raise _invalid(f"jump {operation:#x}")
    if a is None or operand is None:
        return None
    if operation == 0x10:
        return a == operand
    if operation == 0x20:
        return a > operand
    if operation == 0x30:
        return a >= operand
    return bool(a & operand)


def _arithmetic(operation: int, a: int | None, operand: int | None) -> int | None:
    if operation == 0x80:
        return None if a is None else -a & _WORD
    if operation not in _ARITHMETIC:
        raise _invalid(f"arithmetic {operation:#x}")
    if operation == 0x30 and not operand:
        raise _invalid("it may divide by zero")  # the kernel ends the program there, and kills
    if operation in (0x50, 0x20) and operand == 0:
        return 0  # x & 0 and x * 0, whatever x is
    if a is None or operand is None:
        return None
    return _ARITHMETIC[operation](a, operand) & _WORD


_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b, 0x10: lambda a, b: a - b, 0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b, 0x40: lambda a, b: a | b, 0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << (b & 31), 0x70: lambda a, b: a >> (b & 31), 0xA0: lambda a, b: a ^ b,
}  # fmt: skip


def _invalid(why: str) -> HostileInputError:
    return HostileInputError(
        f"A seccomp filter of the process cannot be judged: {why}.",
        "Restart the process with the fixed object on disk.",
    )
