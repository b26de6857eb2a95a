"""Evaluates the small DWARF expressions that unwind tables hold (DWARF 5, 2.5).

Procedure linkage stubs, the C library's signal frames and hand-written cryptographic code use
them. Owns 64-bit arithmetic, registers and memory words; refuses (HostileInputError) branches,
calls and whatever else could make an expression long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from naht.live.native.cfi import Cursor, doubtful

MAX_OPERATIONS = 64
MAX_DEPTH = 16
_MASK = (1 << 64) - 1
_HALF = 1 << 63


class Machine(Protocol):
    """The frame that an expression is about. Both raise HostileInputError for what is unknown."""

    def register(self, number: int) -> int: ...

    def word(self, address: int) -> int: ...


def evaluate(expression: bytes, machine: Machine, *initial: int) -> int:
    """The value on top of the stack at the end. `initial` is on it at the beginning."""
    cursor, stack = Cursor(expression), list(initial)
    for _ in range(MAX_OPERATIONS):
        if not cursor.more:
            return _pop(stack)
        _operate(cursor, stack, machine)
        if len(stack) > MAX_DEPTH:
            break
    raise doubtful("an expression that is too large")


def _operate(cursor: Cursor, stack: list[int], machine: Machine) -> None:
    opcode = cursor.unsigned(1)
    if 0x30 <= opcode <= 0x4F:  # lit0 to lit31
        stack.append(opcode - 0x30)
    elif 0x70 <= opcode <= 0x8F:  # breg0 to breg31
        stack.append((machine.register(opcode - 0x70) + cursor.sleb()) & _MASK)
    elif opcode in _CONSTANTS:
        stack.append(_CONSTANTS[opcode](cursor) & _MASK)
    elif opcode in _BINARY:
        top, below = _pop(stack), _pop(stack)
        stack.append(_BINARY[opcode](below, top) & _MASK)
    elif opcode == 0x06:  # deref
        stack.append(machine.word(_pop(stack)))
    elif opcode == 0x23:  # plus_uconst
        stack.append((_pop(stack) + cursor.uleb()) & _MASK)
    else:
        raise doubtful(f"operation {opcode:#x}")


def _pop(stack: list[int]) -> int:
    if not stack:
        raise doubtful("an expression that takes what is not there")
    return stack.pop()


def _signed(value: int) -> int:
    return value - (1 << 64) if value & _HALF else value


_CONSTANTS: dict[int, Callable[[Cursor], int]] = {
    0x08: lambda c: c.unsigned(1),  # const1u
    0x09: lambda c: c.signed(1),
    0x0A: lambda c: c.unsigned(2),
    0x0B: lambda c: c.signed(2),
    0x0C: lambda c: c.unsigned(4),
    0x0D: lambda c: c.signed(4),
    0x0E: lambda c: c.unsigned(8),
    0x0F: lambda c: c.signed(8),  # const8s
    0x10: lambda c: c.uleb(),  # constu
    0x11: lambda c: c.sleb(),  # consts
}
_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,  # shl
    0x25: lambda a, b: a >> b if b < 64 else 0,  # shr
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}
