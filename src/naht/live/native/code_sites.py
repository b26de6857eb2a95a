"""What the machine code around a program counter says, to hold against the unwind tables.

Tables may be wrong, or a stale word may look like a return address; the code tells. Owns a few
fixed encodings (Intel SDM, volume 2) and refuses to guess: what it does not recognise is no
evidence. It reads no memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

CALL_REACH = 7  # bytes of the longest call without a segment prefix
AHEAD = 40  # bytes of code that are looked at from a counter on

# What stands behind the call that begins a thread or a program, in glibc's clone.S, clone3.S and
# start.S: exit with the result, or halt. Nothing can have called that.
_BASE = re.compile(rb"(\x48?\x89\xc7(\xb8|\x48\xc7\xc0)\x3c\x00\x00\x00\x0f\x05|\xf4)", re.DOTALL)
_SIGNAL_RETURN = re.compile(rb"(\x48\xc7\xc0|\xb8)\x0f\x00\x00\x00\x0f\x05")  # rt_sigreturn(2)


def is_indirect_call(before: bytes) -> bool:
    """Whether code that ends with `before` (CALL_REACH bytes) may end with `call r/m64`."""
    return any(
        before[-size] == 0xFF and _call_operand_size(before[-size + 1 :]) == size - 1
        for size in (2, 3, 4, 6, 7)
    )


def call_target(before: bytes, counter: int) -> int:
    """Where a direct call that ends at `counter` goes; 0 when it can't be a direct one."""
    if before[-5] != 0xE8:
        return 0
    return counter + int.from_bytes(before[-4:], "little", signed=True)


def _call_operand_size(code: bytes) -> int:
    """The size of ModRM, SIB and displacement of `call r/m64` (FF /2); 0 when it is none."""
    modrm = code[0]
    mode, operation, base = modrm >> 6, modrm >> 3 & 7, modrm & 7
    if operation != 2:
        return 0
    if mode == 3:
        return 1
    indexed = base == 4
    if indexed and len(code) < 2:
        return 0
    wide = mode == 2 or (mode == 0 and (code[1] & 7 if indexed else base) == 5)
    return 1 + indexed + (4 if wide else mode)


def begins_stack(code: bytes) -> bool:
    """Whether the code behind a call can only end the thread."""
    return _BASE.match(code) is not None


def returns_from_signal(code: bytes) -> bool:
    return _SIGNAL_RETURN.match(code) is not None


# --- jumps -------------------------------------------------------------------------------------
# Found at any byte: too many, never too few.

_INDIRECT_JUMP = re.compile(rb"\xff[\x20-\x27\x60-\x67\xa0-\xa7\xe0-\xe7]")  # FF /4
_LONG_JUMP = re.compile(rb"(?=(?:\xe9|\x0f[\x80-\x8f])(....))", re.DOTALL)
_SHORT_JUMP = re.compile(rb"(?=[\xeb\x70-\x7f](.))", re.DOTALL)


def has_indirect_jump(code: bytes) -> bool:
    return _INDIRECT_JUMP.search(code) is not None


def jump_targets(code: bytes, start: int) -> Iterator[int]:
    """Where direct jumps in the code at `start` may go; those out of it are of interest."""
    for kind in (_LONG_JUMP, _SHORT_JUMP):
        for found in kind.finditer(code):
            yield start + found.end(1) + _displacement(found)


# --- epilogues ---------------------------------------------------------------------------------

_RETURN = re.compile(rb"[\xf2\xf3]?(\xc3|\xc2..)", re.DOTALL)
_POP = re.compile(rb"\x41?[\x58-\x5b\x5d-\x5f]|\x41\x5c")
_POP_BP, _LEAVE = b"\x5d", b"\xc9"
_NEUTRAL = re.compile(rb"\xc5\xf8\x77|\x90|\x31\xc0")  # vzeroupper, nop, xor eax,eax
_SP_PLUS = re.compile(  # add, lea; with eight or 32 bits
    rb"\x48(?:(?:\x83\xc4|\x8d\x64\x24)(.)|(?:\x81\xc4|\x8d\xa4\x24)(....))", re.DOTALL
)
_SP_FROM_BP = re.compile(rb"\x48(?:\x89\xec|\x8b\xe5|\x8d\x65(.)|\x8d\xa5(....))", re.DOTALL)


def return_slot(code: bytes, sp: int, read_bp: Callable[[], int]) -> int | None:
    """Where `ret` will find its address when nothing but the end of a function lies ahead.

    None when something else lies ahead. Compilers and authors leave tables wrong in epilogues
    more often than anywhere else.
    """
    at, slot, bp_stands = 0, sp, True
    while at < len(code):
        if _RETURN.match(code, at):
            return slot
        moved = _move(code, at, slot) or (bp_stands and _move_by_bp(code, at, read_bp))
        if not moved:
            return None
        bp_stands = bp_stands and code[at : at + 1] not in (_POP_BP, _LEAVE)
        at, slot = moved
    return None


def _move(code: bytes, at: int, sp: int) -> tuple[int, int] | None:
    """The place and the stack pointer behind one instruction of an epilogue."""
    if found := _POP.match(code, at):
        return found.end(), sp + 8
    if found := _NEUTRAL.match(code, at):
        return found.end(), sp
    if found := _SP_PLUS.match(code, at):
        return found.end(), sp + _displacement(found)
    return None


def _move_by_bp(code: bytes, at: int, read_bp: Callable[[], int]) -> tuple[int, int] | None:
    if code.startswith(_LEAVE, at):
        return at + 1, read_bp() + 8
    if found := _SP_FROM_BP.match(code, at):
        return found.end(), read_bp() + _displacement(found)
    return None


def _displacement(found: re.Match[bytes]) -> int:
    operand = next((group for group in found.groups() if group), b"")
    return int.from_bytes(operand, "little", signed=True)
