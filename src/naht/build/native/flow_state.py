"""Where one function may hold an address at one point: registers and stack slots. No rules.

Stack places count from the stack pointer at the function's entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from iced_x86 import Register, RegisterExt

SLOT = 8
ARGUMENTS = (Register.RDI, Register.RSI, Register.RDX, Register.RCX, Register.R8, Register.R9)
_VECTORS = frozenset(range(Register.ZMM0, Register.ZMM31 + 1))
# What a call may overwrite (System V ABI, x86-64, 3.2.1)
LOST_IN_CALLS = frozenset({*ARGUMENTS, Register.RAX, Register.R10, Register.R11, *_VECTORS})


def full(register: int) -> int:
    return int(RegisterExt.full_register(register))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class State:
    """`registers` and `slots` may hold the address; `somewhere`: a stack place not known which.

    `fresh`: slots written since the last call, whatever with; arguments on the stack are such.

    `frame`: registers that certainly point to one place of the stack. `stackish`: those that may
    point to some. `lost`: an address of the stack went into memory.
    """

    registers: frozenset[int]
    slots: frozenset[int] = frozenset()
    somewhere: bool = False
    frame: frozenset[tuple[int, int]] = frozenset({(int(Register.RSP), 0)})
    stackish: frozenset[int] = frozenset()
    lost: bool = False
    fresh: frozenset[int] = frozenset()

    def place(self, register: int) -> int | None:
        return next((at for known, at in self.frame if known == register), None)

    def points_to_stack(self, register: int) -> bool:
        return register in self.stackish or self.place(register) is not None

    @property
    def on_stack(self) -> bool:
        return bool(self.slots) or self.somewhere

    def holds(self, at: int, size: int) -> bool:
        return self.somewhere or any(s < at + size and at < s + SLOT for s in self.slots)

    def written(self, at: int, size: int, *, carries: bool) -> State:
        """After a store to a stack place, of the address or of anything else."""
        here = frozenset(range(at, at + size, SLOT))
        if carries:
            slots = self.slots | here
        else:
            slots = frozenset(s for s in self.slots if s < at or s + SLOT > at + size)
        return replace(self, slots=slots, fresh=self.fresh | here)

    def stack_arguments(self) -> frozenset[int]:
        """Offsets from the stack pointer of what the next call may take from the stack."""
        top = self.place(int(Register.RSP))
        found, at = set(), 0
        while top is not None and top + at in self.fresh:
            found |= {at} if top + at in self.slots else set()
            at += SLOT
        return frozenset(found)

    def with_place(self, register: int, at: int | None) -> State:
        """The register points there now; None: to no known place."""
        frame = frozenset(pair for pair in self.frame if pair[0] != register)
        known = frame if at is None else frame | {(register, at)}
        return replace(self, frame=known, stackish=self.stackish - {register})

    def join(self, other: State) -> State:
        """What holds when either may be the case."""
        if self == other:
            return self
        unsure = {register for register, _ in self.frame ^ other.frame}
        return State(
            self.registers | other.registers,
            self.slots | other.slots,
            self.somewhere or other.somewhere,
            self.frame & other.frame,
            self.stackish | other.stackish | unsure,
            self.lost or other.lost,
            self.fresh | other.fresh,
        )

    def after_call(self, returned: Iterable[int]) -> State:
        return replace(
            self,
            registers=(self.registers - LOST_IN_CALLS) | frozenset(returned),
            frame=frozenset(pair for pair in self.frame if pair[0] not in LOST_IN_CALLS),
            stackish=self.stackish - LOST_IN_CALLS,
            fresh=frozenset(),
        )
