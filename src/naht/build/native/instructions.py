"""Decodes x86-64 code: where instructions lie, and what each relocated field in them is used for.

Owns the use of the decoder by the judging stage. It judges nothing; bytes that do not decode yield
no instruction, and whoever needs certainty about them must refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from iced_x86 import (
    Decoder,
    DecoderOptions,
    FlowControl,
    Instruction,
    MemorySizeExt,
    Mnemonic,
    OpKind,
    Register,
)

Use = Literal["branch", "address", "access", "data"]
"""branch: a direct call or jump goes there. address: the address itself is taken (or indexed).
access: exactly `width` bytes there are read or written. data: the field lies in data."""

BRANCHES = frozenset(
    {FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH, FlowControl.CALL,
     FlowControl.XBEGIN_XABORT_XEND}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldUse:
    """How the instruction that holds a relocated field uses it."""

    start: int
    end: int  # offset after the instruction, from where PC-relative displacements count
    use: Use
    width: int  # bytes read or written; 0 unless use is "access"


def decode(code: bytes, base: int) -> Iterator[Instruction]:
    """The instructions of `code`, whose first byte lies at `base`."""
    yield from Decoder(64, code, DecoderOptions.NONE, ip=base)


def displacement_offset(code: bytes, base: int) -> int:
    """Where in its own bytes an instruction's displacement is."""
    decoder = Decoder(64, code, DecoderOptions.NONE, ip=base)
    return int(decoder.get_constant_offsets(decoder.decode()).displacement_offset)


def field_uses(code: bytes, base: int, fields: list[int]) -> dict[int, FieldUse]:
    """For each offset in `fields` (ascending, counted like `base`) the instruction it lies in."""
    found: dict[int, FieldUse] = {}
    wanted = iter(fields)
    field = next(wanted, None)
    for instruction in decode(code, base):
        start, end = instruction.ip, instruction.next_ip
        while field is not None and field < end:
            if field >= start and not instruction.is_invalid:
                use, width = _use(instruction)
                found[field] = FieldUse(start, end, use, width)
            field = next(wanted, None)
        if field is None:
            break
    return found


def _use(instruction: Instruction) -> tuple[Use, int]:
    if is_near_branch(instruction):
        return "branch", 0
    if instruction.mnemonic == Mnemonic.LEA or not _fixed_memory(instruction):
        return "address", 0
    width = memory_width(instruction)
    return ("access", width) if width else ("address", 0)


def is_near_branch(instruction: Instruction) -> bool:
    """A call or jump with its displacement in the instruction."""
    return instruction.flow_control in BRANCHES and instruction.op0_kind == OpKind.NEAR_BRANCH64


def _fixed_memory(instruction: Instruction) -> bool:
    """A memory operand at one address that the instruction alone gives: no register enters."""
    if instruction.is_ip_rel_memory_operand:
        return True
    has_memory = any(instruction.op_kind(i) == OpKind.MEMORY for i in range(instruction.op_count))
    return (
        has_memory
        and instruction.memory_base == Register.NONE
        and instruction.memory_index == Register.NONE
    )


def memory_width(instruction: Instruction) -> int:
    """Bytes of the memory operand, 0 when the decoder does not know."""
    return int(MemorySizeExt.size(instruction.memory_size))
