"""Moves the first instructions of an old function elsewhere, without changing what they do.

Where the redirecting jump overwrites an entry, the instructions under it live on in the hotpatch,
followed by a jump to the first old instruction that is still in place. What cannot be moved with
certainty is not moved: `displace` then gives None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from iced_x86 import (
    Decoder,
    FlowControl,
    Instruction,
    OpKind,
    Register,
)

from naht.elf import constants as c

JUMP_SIZE = 5
_ENDS = (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.RETURN, FlowControl.INDIRECT_BRANCH)


@dataclass(frozen=True, slots=True)
class MovedField:
    """A PC-relative field at `offset` of the moved code, to be relocated against `target`."""

    offset: int
    type: int
    target: int  # address in the running object
    addend: int


@dataclass(frozen=True, slots=True)
class Displaced:
    code: bytes
    fields: tuple[MovedField, ...]


def displace(code: bytes, address: int, redirect: int) -> Displaced | None:
    """The whole instructions from `address` on that the jump at `redirect` touches, made movable.

    `code` is the old function's entry part. None when an instruction can't be moved, when one
    branches into the overwritten bytes, or when the function ends before them.
    """
    moved = _covering(code, address, redirect + JUMP_SIZE)
    if moved is None:
        return None
    end = moved[-1].next_ip
    draft = _Draft()
    for instruction in moved:
        start = instruction.ip - address
        raw = code[start : start + instruction.len]
        if not _move(draft, instruction, raw, range(address, end)):
            return None
    if moved[-1].flow_control not in _ENDS:
        draft.branch(b"\xe9", end)
    return Displaced(bytes(draft.code), tuple(draft.fields))


def _covering(code: bytes, address: int, until: int) -> list[Instruction] | None:
    found = []
    for instruction in Decoder(64, code, ip=address):
        if instruction.is_invalid:
            return None
        found.append(instruction)
        if instruction.next_ip >= until:
            return found
        if instruction.flow_control in _ENDS:
            return None  # what follows is not this entry's code
    return None


class _Draft:
    def __init__(self) -> None:
        self.code = bytearray()
        self.fields: list[MovedField] = []

    def branch(self, opcode: bytes, target: int) -> None:
        self.code += opcode
        self.fields.append(MovedField(len(self.code), c.R_X86_64_PLT32, target, -4))
        self.code += bytes(4)

    def push_return_address(self, address: int) -> None:
        """A moved call pushes the *old* return address: it returns into the old function, whose
        unwind table and landing pads stay right. No register may be used for that, as compilers
        know of static functions which ones they leave alone; flags are dead at a call."""
        self.code += b"\xe8" + bytes(4)  # call the next instruction: pushes its address
        self.code += b"\x48\x81\x04\x24"  # add qword [rsp], address - that address
        self.fields.append(MovedField(len(self.code), c.R_X86_64_PC32, address, 4))
        self.code += bytes(4)


def _move(draft: _Draft, instruction: Instruction, raw: bytes, here: range) -> bool:
    mover = _MOVERS.get(instruction.flow_control)
    if mover is None or instruction.memory_base == Register.EIP:
        return False
    return mover(draft, instruction, raw, here)


def _move_plain(draft: _Draft, instruction: Instruction, raw: bytes, here: range) -> bool:
    if not instruction.is_ip_rel_memory_operand:
        draft.code += raw
        return True
    return _move_rip_relative(draft, instruction, raw, here)


def _move_rip_relative(draft: _Draft, instruction: Instruction, raw: bytes, here: range) -> bool:
    target = instruction.ip_rel_memory_address
    field = _displacement_offset(instruction, raw)
    if field is None or target in here:
        return False
    draft.fields.append(
        MovedField(len(draft.code) + field, c.R_X86_64_PC32, target, field - len(raw))
    )
    draft.code += raw[:field] + bytes(4) + raw[field + 4 :]
    return True


def _displacement_offset(instruction: Instruction, raw: bytes) -> int | None:
    decoder = Decoder(64, raw, ip=instruction.ip)
    offsets = decoder.get_constant_offsets(decoder.decode())
    if not offsets.has_displacement or offsets.displacement_size != 4:
        return None
    at = offsets.displacement_offset
    (distance,) = struct.unpack_from("<i", raw, at)
    reached = (instruction.next_ip + distance) & 0xFFFFFFFFFFFFFFFF
    return at if reached == instruction.ip_rel_memory_address else None


def _move_jump(draft: _Draft, instruction: Instruction, _raw: bytes, here: range) -> bool:
    if instruction.op0_kind != OpKind.NEAR_BRANCH64 or instruction.near_branch64 in here:
        return False
    draft.branch(b"\xe9", instruction.near_branch64)
    return True


def _move_conditional(draft: _Draft, instruction: Instruction, raw: bytes, here: range) -> bool:
    """jcc rel8 becomes jcc rel32; loop and jrcxz have no long form."""
    if not instruction.is_jcc_short_or_near or instruction.near_branch64 in here:
        return False
    opcode = raw[-2] if instruction.is_jcc_short else raw[-5]  # the condition is its low half
    draft.branch(bytes([0x0F, 0x80 | opcode & 0xF]), instruction.near_branch64)
    return True


def _move_call(draft: _Draft, instruction: Instruction, _raw: bytes, here: range) -> bool:
    if instruction.op0_kind != OpKind.NEAR_BRANCH64 or instruction.near_branch64 in here:
        return False
    draft.push_return_address(instruction.next_ip)
    draft.branch(b"\xe9", instruction.near_branch64)
    return True


def _move_indirect_call(draft: _Draft, instruction: Instruction, raw: bytes, here: range) -> bool:
    """`call *slot(%rip)` of code built without PLT becomes a push and `jmp *slot(%rip)`."""
    if not instruction.is_ip_rel_memory_operand or raw[-6:-4] != b"\xff\x15":
        return False
    draft.push_return_address(instruction.next_ip)
    return _move_rip_relative(draft, instruction, raw[:-5] + b"\x25" + raw[-4:], here)


_Mover = Callable[[_Draft, Instruction, bytes, range], bool]
_MOVERS: dict[int, _Mover] = {
    FlowControl.NEXT: _move_plain,
    FlowControl.RETURN: _move_plain,
    FlowControl.UNCONDITIONAL_BRANCH: _move_jump,
    FlowControl.CONDITIONAL_BRANCH: _move_conditional,
    FlowControl.CALL: _move_call,
    FlowControl.INDIRECT_CALL: _move_indirect_call,
    FlowControl.INDIRECT_BRANCH: _move_plain,
    FlowControl.EXCEPTION: _move_plain,
}
