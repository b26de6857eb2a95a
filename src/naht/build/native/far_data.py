"""Lets new code of an executable reach a datum or function address of another object that it
names directly. The linker of the new build would have copied the datum into the executable (COPY);
a process that runs already has no such copy, and the datum may be anywhere.

The instruction becomes a jump to a few instructions that go through a slot of the image, do what
it did, and jump back. Refuses instructions for which that can't be done with certainty.
"""

from __future__ import annotations

from iced_x86 import (
    Code,
    Decoder,
    Encoder,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemoryOperand,
    OpAccess,
    OpKind,
    Register,
    Register_,
    RegisterExt,
)

from naht.build.native.closure import Chunk
from naht.build.native.relocatable import Reference
from naht.build.native.writer import Draft, DraftRelocation, DraftSection
from naht.elf import constants as c
from naht.errors import BuildRefusedError

SECTION = ".naht.far"
_JUMP_SIZE = 5
_MOVES_OF_ADDRESS = (Code.MOV_R32_IMM32, Code.MOV_RM64_IMM32)
_SCRATCH = (
    Register.RAX, Register.RCX, Register.RDX, Register.RSI, Register.RDI, Register.R8,
    Register.R9, Register.R10, Register.R11,
)  # fmt: skip
# 136 bytes down and up again: past the red zone (psABI 3.2.2), with room for one register; lea
# leaves the flags alone.
_STACK_DOWN = bytes.fromhex("488da42478ffffff")
_STACK_UP = bytes.fromhex("488da42488000000")


class FarData:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def reach(self, chunk: Chunk, reference: Reference, slot: str, offset: int) -> None:
        """Makes the instruction around a field work `offset` bytes after what `slot` points to."""
        instruction = _instruction_at(chunk, reference)
        body = _detour(instruction, offset) if instruction else None
        if instruction is None or body is None:
            raise BuildRefusedError(
                "import-out-of-reach",
                "The new code reaches a datum of another object directly, of which the running "
                "object has no copy.",
                "Compile the object with -fPIC, or reach it through a function of that object.",
                where=chunk.where,
            )
        symbol = self._add(chunk, instruction, slot, *body)
        jump = b"\xe9" + bytes(4) + b"\x90" * (instruction.len - _JUMP_SIZE)
        chunk.draft.content[instruction.ip : instruction.next_ip] = jump
        chunk.draft.relocations.append(
            DraftRelocation(instruction.ip + 1, c.R_X86_64_PLT32, symbol, -4)
        )

    def _add(
        self, chunk: Chunk, instruction: Instruction, slot: str, before: bytes, after: bytes
    ) -> str:
        """`before` ends with the field that holds the slot's distance."""
        if SECTION not in self._draft.sections:
            self._draft.add_section(DraftSection(SECTION, "code", 16))
        section = self._draft.sections[SECTION]
        code = before + after + b"\xe9" + bytes(4)
        at = section.append(code, 16)
        section.relocations += [
            DraftRelocation(at + len(before) - 4, c.R_X86_64_PC32, slot, -4),
            DraftRelocation(
                at + len(code) - 4, c.R_X86_64_PLT32, chunk.symbol, instruction.next_ip - 4
            ),
        ]
        name = self._draft.free_name(f"naht.far.{chunk.symbol}")
        return self._draft.define(name, section.name, at, len(code), is_function=True)


def _instruction_at(chunk: Chunk, reference: Reference) -> Instruction | None:
    at = reference.field - chunk.start
    for instruction in Decoder(64, bytes(chunk.draft.content), ip=0):
        if instruction.ip <= at < instruction.next_ip:
            others = [
                r for r in chunk.draft.relocations
                if instruction.ip <= r.offset < instruction.next_ip
            ]  # fmt: skip
            fits = instruction.len >= _JUMP_SIZE and not others
            return instruction if fits and not instruction.is_invalid else None
    return None


def _detour(instruction: Instruction, offset: int) -> tuple[bytes, bytes] | None:
    """What to run instead: up to the field that finds the slot, and from there on."""
    if instruction.code in _MOVES_OF_ADDRESS and instruction.op0_kind == OpKind.REGISTER:
        register = RegisterExt.full_register(instruction.op0_register)
        return _load_slot(register), _add(register, offset)
    movable = instruction.is_ip_rel_memory_operand and instruction.flow_control == FlowControl.NEXT
    if not movable or instruction.memory_base != Register.RIP:
        return None
    return _through_destination(instruction, offset) or _borrowing(instruction, offset)


def _through_destination(instruction: Instruction, offset: int) -> tuple[bytes, bytes] | None:
    """A load into a whole register can hold the address in that register first."""
    if instruction.op0_kind != OpKind.REGISTER:
        return None
    register = instruction.op0_register
    whole = RegisterExt.is_gpr32(register) or RegisterExt.is_gpr64(register)
    full = RegisterExt.full_register(register)
    written = InstructionInfoFactory().info(instruction).op0_access == OpAccess.WRITE
    if not whole or not written or full == Register.RSP or _reads(instruction, full):
        return None
    return _load_slot(full), _with_base(instruction, full, offset)


def _borrowing(instruction: Instruction, offset: int) -> tuple[bytes, bytes] | None:
    """Any other instruction gets a register that it does not use, kept on the stack meanwhile."""
    used = _used(instruction)
    free = next((r for r in _SCRATCH if r not in used), None)
    if free is None or Register.RSP in used:
        return None
    save = Instruction.create_mem_reg(Code.MOV_RM64_R64, MemoryOperand(Register.RSP), free)
    restore = Instruction.create_reg_mem(Code.MOV_R64_RM64, free, MemoryOperand(Register.RSP))
    return (
        _STACK_DOWN + _encode(save) + _load_slot(free),
        _with_base(instruction, free, offset) + _encode(restore) + _STACK_UP,
    )


def _used(instruction: Instruction) -> frozenset[int]:
    registers = InstructionInfoFactory().info(instruction).used_registers()
    return frozenset(int(RegisterExt.full_register(u.register)) for u in registers)


def _reads(instruction: Instruction, register: Register_) -> bool:
    registers = InstructionInfoFactory().info(instruction).used_registers()
    return any(
        RegisterExt.full_register(u.register) == register and u.access != OpAccess.WRITE
        for u in registers
    )


def _load_slot(register: Register_) -> bytes:
    """mov register, [rip + slot], without its last four bytes' value."""
    number = RegisterExt.number(register)
    return bytes([0x48 | number >> 3 << 2, 0x8B, 0x05 | (number & 7) << 3, 0, 0, 0, 0])


def _add(register: Register_, offset: int) -> bytes:
    if not offset:
        return b""
    place = MemoryOperand(register, displ=offset, displ_size=8)
    return _encode(Instruction.create_reg_mem(Code.LEA_R64_M, register, place))


def _with_base(instruction: Instruction, register: Register_, offset: int) -> bytes:
    moved = instruction.copy()
    moved.memory_base = register
    moved.memory_displacement = offset & 0xFFFFFFFFFFFFFFFF
    moved.memory_displ_size = 8
    return _encode(moved)


def _encode(instruction: Instruction) -> bytes:
    encoder = Encoder(64)
    encoder.encode(instruction, 0)
    return bytes(encoder.take_buffer())
