"""What one instruction does to the places that hold an address. Calls and jumps are not its matter.

Errs to one side only: it may think that a place holds the address where none does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from iced_x86 import (
    Instruction,
    InstructionInfo,
    InstructionInfoFactory,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)

from naht.build.native.flow_state import SLOT, State, full
from naht.build.native.instructions import memory_width

Mark = Literal["", "address", "content"]
"""What an instruction's own field says: nothing; the address; a place in what lies there."""

_READS = frozenset(
    {OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
)
_WRITES = frozenset(
    {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
)
_DIFFERENCES = frozenset({Mnemonic.SUB, Mnemonic.XOR})
_STRING_STORES = frozenset(
    {Mnemonic.STOSB, Mnemonic.STOSW, Mnemonic.STOSD, Mnemonic.STOSQ}
)  # fmt: skip
_STRING_COPIES = frozenset(
    {Mnemonic.MOVSB, Mnemonic.MOVSW, Mnemonic.MOVSD, Mnemonic.MOVSQ}
)  # fmt: skip
_ANOTHER_FRAME = 1 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """`loads`: what lies at the address holds more such addresses. `narrow`: addresses have 32
    bits (position dependent code)."""

    loads: bool
    narrow: bool

    @property
    def least(self) -> int:
        return 4 if self.narrow else SLOT


@dataclass(frozen=True, slots=True)
class Stepped:
    state: State
    stored: bool = False  # the address went to memory that outlives the call


class Stepper:
    """`mark` tells of an instruction's displacement or immediate what it refers to."""

    def __init__(self, rules: Rules, mark: Callable[[Instruction, str], Mark]) -> None:
        self._rules = rules
        self._mark = mark
        self._factory = InstructionInfoFactory()

    def step(self, instruction: Instruction, state: State) -> Stepped:
        if instruction.is_string_instruction:
            return self._string(instruction, state)
        info = self._factory.info(instruction)
        carries = self._carries(instruction, info, state)
        if self._is_difference(instruction, state):
            state = replace(state, registers=state.registers - {full(instruction.op0_register)})
        stored, after = self._store(instruction, info, state, carries=carries)
        after = self._write_registers(instruction, info, after, carries=carries)
        return Stepped(_move_frame(instruction, info, state, after), stored)

    # --- does the instruction's result hold it? ------------------------------------------

    def _carries(self, instruction: Instruction, info: InstructionInfo, state: State) -> bool:
        if self._is_difference(instruction, state):
            return False
        if self._mark(instruction, "immediate") == "address":
            return True
        if _reads_register(instruction, info, state):
            return True
        return self._memory_carries(instruction, info, state)

    def _is_difference(self, instruction: Instruction, state: State) -> bool:
        given = self._mark(instruction, "immediate") == "address"
        return _is_difference(instruction, state, from_address=given)

    def _memory_carries(
        self, instruction: Instruction, info: InstructionInfo, state: State
    ) -> bool:
        if instruction.mnemonic in (Mnemonic.POP, Mnemonic.LEAVE):
            return _pops(instruction, state)
        mark = self._mark(instruction, "displacement")
        pointers = {full(instruction.memory_base), full(instruction.memory_index)}
        through = mark == "content" or bool(pointers & state.registers)
        if instruction.mnemonic == Mnemonic.LEA:
            return through
        if not _touches_memory(instruction, info, _READS):
            return False
        width = memory_width(instruction) or SLOT
        if mark == "address" or width < self._rules.least:
            return mark == "address"
        return self._rules.loads if through else _loads_from_stack(state, instruction, width)

    # --- where does it go? ---------------------------------------------------------------

    def _store(
        self, instruction: Instruction, info: InstructionInfo, state: State, *, carries: bool
    ) -> tuple[bool, State]:
        if instruction.mnemonic == Mnemonic.PUSH:
            return False, _push(state, instruction, carries=carries)
        if not _touches_memory(instruction, info, _WRITES):
            return False, state
        size = memory_width(instruction) or SLOT
        base = full(instruction.memory_base)
        at = state.place(base) if instruction.memory_index == Register.NONE else None
        if _stores_stack_address(instruction, state):
            state = replace(state, lost=True)
        if at is not None:
            at += _signed(instruction.memory_displacement)
            return False, state.written(at, size, carries=carries)
        if carries and state.points_to_stack(base):
            return False, replace(state, somewhere=True)
        return carries and size >= self._rules.least, state

    def _write_registers(
        self, instruction: Instruction, info: InstructionInfo, state: State, *, carries: bool
    ) -> State:
        held = set(state.registers)
        for used in info.used_registers():
            if used.access not in _WRITES or full(used.register) == Register.RSP:
                continue
            size = RegisterExt.size(used.register)
            if carries and size >= self._rules.least:
                held.add(full(used.register))
            elif used.access == OpAccess.WRITE and size >= 4:
                held.discard(full(used.register))
        return replace(state, registers=frozenset(held))

    def _string(self, instruction: Instruction, state: State) -> Stepped:
        """Copies and fills with a counter: what goes where is not followed any closer."""
        to_stack = state.points_to_stack(int(Register.RDI))
        copies = instruction.mnemonic in _STRING_COPIES and (
            (self._rules.loads and Register.RSI in state.registers) or state.on_stack
        )
        fills = instruction.mnemonic in _STRING_STORES and Register.RAX in state.registers
        moves = copies or fills
        after = replace(state, somewhere=state.somewhere or (moves and to_stack))
        return Stepped(after, moves and not to_stack)


def _is_difference(instruction: Instruction, state: State, *, from_address: bool) -> bool:
    """`p - start` is a number, whatever both were; and a register with itself gives zero."""
    if instruction.mnemonic not in _DIFFERENCES or instruction.op0_kind != OpKind.REGISTER:
        return False
    held = full(instruction.op0_register) in state.registers
    if instruction.op1_kind != OpKind.REGISTER:
        return held and from_address
    other = full(instruction.op1_register)
    return other == full(instruction.op0_register) or (held and other in state.registers)


def _reads_register(instruction: Instruction, info: InstructionInfo, state: State) -> bool:
    """As data; a register that only says where in memory something lies is none."""
    explicit = {
        full(instruction.op_register(i))
        for i in range(instruction.op_count)
        if instruction.op_kind(i) == OpKind.REGISTER and info.op_access(i) in _READS
    }
    pointers = {full(instruction.memory_base), full(instruction.memory_index)}
    implicit = {
        full(used.register) for used in info.used_registers() if used.access in _READS
    } - pointers
    return bool(state.registers & (explicit | implicit))


def _touches_memory(
    instruction: Instruction, info: InstructionInfo, accesses: frozenset[int]
) -> bool:
    return any(
        instruction.op_kind(i) == OpKind.MEMORY and info.op_access(i) in accesses
        for i in range(instruction.op_count)
    )


def _pops(instruction: Instruction, state: State) -> bool:
    leaves = instruction.mnemonic == Mnemonic.LEAVE
    at = state.place(int(Register.RBP if leaves else Register.RSP))
    return state.on_stack if at is None else state.holds(at, SLOT)


def _loads_from_stack(state: State, instruction: Instruction, width: int) -> bool:
    base, index = full(instruction.memory_base), full(instruction.memory_index)
    at = state.place(base)
    if at is not None and index == Register.NONE:
        return state.holds(at + _signed(instruction.memory_displacement), width or SLOT)
    if state.points_to_stack(base) or state.points_to_stack(index) or state.lost:
        return state.on_stack
    return False


def _push(state: State, instruction: Instruction, *, carries: bool) -> State:
    at = state.place(int(Register.RSP))
    if _stores_stack_address(instruction, state):
        state = replace(state, lost=True)
    if at is None:
        return replace(state, somewhere=state.somewhere or carries)
    return state.written(at - SLOT, SLOT, carries=carries)


def _stores_stack_address(instruction: Instruction, state: State) -> bool:
    return any(
        instruction.op_kind(i) == OpKind.REGISTER
        and state.points_to_stack(full(instruction.op_register(i)))
        for i in range(instruction.op_count)
    )


# --- which registers point into the stack ------------------------------------------------


def _move_frame(
    instruction: Instruction, info: InstructionInfo, before: State, after: State
) -> State:
    if _moves_stack_pointer(instruction):
        leaves = instruction.mnemonic == Mnemonic.LEAVE
        at = before.place(int(Register.RBP if leaves else Register.RSP))
        by = SLOT if leaves else instruction.stack_pointer_increment
        after = after.with_place(int(Register.RSP), None if at is None else at + by)
    for used in info.used_registers():
        register = full(used.register)
        known = register == Register.RSP and _moves_stack_pointer(instruction)
        if used.access in _WRITES and not known and _is_pointer_register(register):
            after = _place_result(instruction, info, register, before, after)
    return after


def _moves_stack_pointer(instruction: Instruction) -> bool:
    return instruction.mnemonic == Mnemonic.LEAVE or instruction.stack_pointer_increment != 0


def _is_pointer_register(register: int) -> bool:
    return Register.RAX <= register <= Register.R15


def _place_result(
    instruction: Instruction, info: InstructionInfo, register: int, before: State, after: State
) -> State:
    at = _computed_place(instruction, before)
    is_target = instruction.op_count > 0 and full(instruction.op0_register) == register
    if at is not None and is_target:
        return after.with_place(register, at)
    if register == Register.RSP:  # aligned, or of unknown size: count from here
        return after.with_place(register, -_ANOTHER_FRAME * (1 + instruction.ip))
    derived = any(
        before.points_to_stack(full(used.register))
        for used in info.used_registers()
        if used.access in _READS and full(used.register) != Register.RSP
    )
    after = after.with_place(register, None)
    moves = instruction.mnemonic == Mnemonic.LEA or not _touches_memory(instruction, info, _READS)
    return replace(after, stackish=after.stackish | {register}) if derived and moves else after


def _computed_place(instruction: Instruction, state: State) -> int | None:
    """The stack place that an instruction computes into its first operand."""
    if instruction.op_count != 2 or instruction.op0_kind != OpKind.REGISTER:
        return None
    if instruction.mnemonic == Mnemonic.LEA and instruction.memory_index == Register.NONE:
        at = state.place(full(instruction.memory_base))
        return None if at is None else at + _signed(instruction.memory_displacement)
    if instruction.mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
        return state.place(full(instruction.op1_register))
    if instruction.mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and _has_number(instruction):
        at = state.place(full(instruction.op0_register))
        amount = _signed(instruction.immediate(1))
        if at is not None:
            return at + (amount if instruction.mnemonic == Mnemonic.ADD else -amount)
    return None


def _has_number(instruction: Instruction) -> bool:
    return OpKind.IMMEDIATE8 <= instruction.op1_kind <= OpKind.IMMEDIATE32TO64


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
