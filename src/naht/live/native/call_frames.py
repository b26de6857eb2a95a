"""The exact chain of calls that a stopped thread stands in, from a copy of its stack.

Owns unwinding by the tables of the loaded objects, offline: the copy was taken under stop, the
process runs on. A chain says which stack words it rests on; while they and the registers are
unchanged, it holds. Refuses (None) in any doubt: no entry for a counter, a word outside of the
copy, a register that nobody kept, a return address behind no call, tables that contradict the
code, an end that is not the beginning of a thread. It judges no function and stops nobody.
"""

from __future__ import annotations

import struct

import msgspec

from naht.errors import HostileInputError
from naht.live.native import cfi, code_sites
from naht.live.native.cfi import How, Row, Rule, doubtful
from naht.live.native.dwarf_expression import evaluate
from naht.live.native.frame_tables import Frame, FrameTables
from naht.live.native.loaded_elf import ADDRESS_SPACE

__all__ = ["Chain", "FrameTables", "Snapshot", "unwind"]

MAX_FRAMES = 4096
_U64 = struct.Struct("<Q")
_MASK = (1 << 64) - 1
_KEPT = (cfi.RBX, cfi.RBP, cfi.R12, cfi.R13, cfi.R14, cfi.R15)


class Snapshot(msgspec.Struct, frozen=True):
    """A thread as it was under stop: registers, and its stack from the red zone on."""

    thread: int
    rip: int
    rsp: int
    rbp: int
    rbx: int
    r12: int
    r13: int
    r14: int
    r15: int
    start: int  # the address of stack[0]
    stack: bytes


class Chain(msgspec.Struct, frozen=True):
    """`counters`: where the innermost frame stopped, then each return address, outermost last.

    A return address may equal the end of the function that it is in, when the call was its last
    instruction. `words`: every stack word (address, value) that the chain was computed from.
    `registers`: those of the thread's own, by DWARF number, that it was computed from, besides its
    program counter and stack pointer.
    """

    counters: tuple[int, ...]
    words: tuple[tuple[int, int], ...]
    registers: frozenset[int]


def unwind(tables: FrameTables, snapshot: Snapshot) -> Chain | None:
    """None whenever anything is in doubt. TargetGoneError when the process is gone."""
    try:
        walk = _Walk(tables, snapshot)
        while not walk.frame.base:
            walk.step()
    except HostileInputError:
        return None
    words = tuple(sorted(walk.words.items()))
    return Chain(tuple(walk.counters), words, frozenset(walk.used))


class _Walk:
    """One frame and the registers in it; `step` goes to the frame behind it."""

    def __init__(self, tables: FrameTables, snapshot: Snapshot) -> None:
        s = snapshot
        self._tables = tables
        self._snapshot = s
        self.words: dict[int, int] = {}
        self.counters = [s.rip]
        self._sp = s.rsp
        self._values = dict(zip(_KEPT, (s.rbx, s.rbp, s.r12, s.r13, s.r14, s.r15), strict=True))
        self._own = set(_KEPT)  # those in _values that are still the thread's own
        self.used: set[int] = set()
        self._saved: dict[int, int] = {}  # where the registers are that are not in _values
        if s.rsp % 8 or s.start % 8:
            raise doubtful("a stack pointer between words")
        self.frame = tables.interrupted(s.rip)

    def step(self) -> None:
        frame = self.frame
        cfa = self._frame_address(frame.row)
        counter = self.word(self._return_slot(frame, cfa))
        self._check_sp_rule(frame, cfa)
        self._restore(frame, cfa)
        self._sp = cfa
        self.counters.append(counter)
        if len(self.counters) > MAX_FRAMES:
            raise doubtful("a chain without end")
        self.frame = self._behind(frame, counter)

    def _behind(self, frame: Frame, counter: int) -> Frame:
        if frame.signal:
            return self._tables.interrupted(counter)
        caller = self._tables.called(counter)
        # A handler is called by the kernel, which leaves the return from the signal on the stack.
        if not caller.signal:
            self._tables.check_call(caller, frame)
        return caller

    # --- the machine that expressions see ---

    def register(self, number: int) -> int:
        if number == cfi.RSP:
            return self._sp
        if number == cfi.RIP:
            return self.counters[-1]
        if number not in self._values:
            if number not in self._saved:
                raise doubtful(f"register {number} was not kept")
            self._values[number] = self.word(self._saved[number])
        elif number in self._own:
            self.used.add(number)
        return self._values[number]

    def word(self, address: int) -> int:
        """A word of the copied stack, which the chain then depends on."""
        s = self._snapshot
        # What a leaf keeps below its stack pointer is in the copy, but no caller's.
        if address % 8 or not s.rsp <= address <= s.start + len(s.stack) - 8 or address < s.start:
            raise doubtful("a word outside of the stack")
        value = int(_U64.unpack_from(s.stack, address - s.start)[0])
        self.words[address] = value
        return value

    # --- one step ---

    def _frame_address(self, row: Row) -> int:
        """The CFA: the stack pointer before the call. Each frame takes some stack."""
        if row.cfa_expression:
            cfa = evaluate(row.cfa_expression, self)
        else:
            cfa = self.register(row.cfa_register) + row.cfa_offset
        if cfa % 8 or not self._sp < cfa < ADDRESS_SPACE:
            raise doubtful("a frame that takes no stack")
        return cfa

    def _return_slot(self, frame: Frame, cfa: int) -> int:
        rule = frame.row.rules.get(cfi.RIP)
        if rule is None:
            raise doubtful("a frame without return address")
        if frame.signal:
            return self._inside(self._slot(rule, cfa), cfa)
        slot = cfa - 8  # where `call` puts it
        if rule != Rule(How.SAVED, -8):
            raise doubtful("a return address elsewhere than behind the frame")
        if frame.code:
            expected = code_sites.return_slot(frame.code, self._sp, self._base_pointer)
            if expected not in (None, slot):
                raise doubtful("an entry that contradicts the code")
        return slot

    def _base_pointer(self) -> int:
        return self.register(cfi.RBP)

    def _check_sp_rule(self, frame: Frame, cfa: int) -> None:
        """The CFA is the caller's stack pointer, whatever else an entry may say."""
        rule = frame.row.rules.get(cfi.RSP, _SP_IS_CFA)
        if rule == _SP_IS_CFA:
            return
        if not frame.signal or self.word(self._slot(rule, cfa)) != cfa:
            raise doubtful("two stack pointers")

    def _restore(self, frame: Frame, cfa: int) -> None:
        """Undoes what the frame did to the registers that calls preserve."""
        values, saved, own = self._values.copy(), self._saved.copy(), self._own.copy()
        for number in _KEPT:
            rule = frame.row.rules.get(number)
            if rule is None:
                continue
            values.pop(number, None)
            saved.pop(number, None)
            own.discard(number)
            if rule.how in (How.SAVED, How.SAVED_AT):
                slot = self._slot(rule, cfa)
                # Compilers leave the rule of a register standing that has been popped again.
                if self._sp <= slot < cfa:
                    saved[number] = slot
            elif rule.how is How.VALUE:
                values[number] = cfa + rule.value & _MASK
            elif rule.how is How.REGISTER and rule.value in self._values:
                values[number] = self.register(rule.value)
        self._values, self._saved, self._own = values, saved, own

    def _slot(self, rule: Rule, cfa: int) -> int:
        """The address of the word that a rule names."""
        if rule.how is How.SAVED_AT:
            return evaluate(rule.expression, self, cfa)
        if rule.how is How.SAVED:
            return cfa + rule.value
        raise doubtful("a value that is in no word")

    def _inside(self, slot: int, cfa: int) -> int:
        if not self._sp <= slot < cfa:
            raise doubtful("a return address outside of its frame")
        return slot


_SP_IS_CFA = Rule(How.VALUE, 0)
