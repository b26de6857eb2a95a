"""Reads machine code for what the emitter must know of it: whether it can be moved as one piece,
whether it ever returns, whether it calls itself. Data that lies in code is read as code, which
can only make it refuse more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from iced_x86 import Decoder, FlowControl, Instruction, OpKind

from naht.errors import BuildRefusedError


class Field(Protocol):
    @property
    def field(self) -> int: ...


def check_self_contained(code: bytes, relocated: Iterable[Field], start: int, where: str) -> None:
    """Refuses code that reaches outside itself without a relocation, as it can't be moved."""
    fields = sorted(r.field - start for r in relocated)
    for instruction in Decoder(64, code, ip=0):
        target = _fixed_target(instruction)
        if target is None or 0 <= target < len(code):
            continue
        if not any(instruction.ip <= f < instruction.next_ip for f in fields):
            raise BuildRefusedError(
                "shared-section",
                "Its section holds other code or data that it reaches directly.",
                "Remove the section attribute, so that each function has a section of its own.",
                where=where,
            )


def _fixed_target(instruction: Instruction) -> int | None:
    if instruction.op_count and instruction.op0_kind == OpKind.NEAR_BRANCH64:
        return _signed(instruction.near_branch64)
    if instruction.is_ip_rel_memory_operand:
        return _signed(instruction.ip_rel_memory_address)
    return None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def calls_own_start(code: bytes, relocated: Iterable[Field], start: int) -> bool:
    """Whether the code calls its own first byte, as resolved by the assembler."""
    fields = {r.field - start for r in relocated}
    return any(
        instruction.flow_control == FlowControl.CALL
        and _fixed_target(instruction) == 0
        and not any(f in fields for f in range(instruction.ip, instruction.next_ip))
        for instruction in Decoder(64, code, ip=0)
    )


def leaves(parts: Sequence[tuple[int, bytes]], *, has_jump_table: bool) -> bool:
    """Whether linked code, given as (address, bytes), has a return or a tail jump.

    A jump to an address in a register is a tail call, unless the function has a jump table.
    """
    ranges = [range(address, address + len(code)) for address, code in parts]
    return any(
        _leaves(instruction, ranges, has_jump_table=has_jump_table)
        for address, code in parts
        for instruction in Decoder(64, code, ip=address)
    )


def _leaves(instruction: Instruction, ranges: list[range], *, has_jump_table: bool) -> bool:
    flow = instruction.flow_control
    if flow == FlowControl.RETURN:
        return True
    if flow in (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH):
        return not any(instruction.near_branch64 in here for here in ranges)
    if flow == FlowControl.INDIRECT_BRANCH:
        return instruction.is_ip_rel_memory_operand or not has_jump_table
    return False
