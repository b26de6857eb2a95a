"""Call frame information as it lies in .eh_frame: its entries, and the row of one address.

Owns the decoding (LSB Core 5.0, 10.6; DWARF 5, 6.4). The bytes come from a process and are
hostile: every number, length and depth has a bound. Refuses (HostileInputError) whatever it does
not know, so that a row is either what the compiler meant or not there. It reads no memory and
evaluates no expression (see `dwarf_expression`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

import msgspec

from naht.errors import HostileInputError
from naht.live.native.loaded_elf import ADDRESS_SPACE

# DWARF numbers of the registers that a call preserves, and of the return address (psABI, 3.36).
RBX, RBP, RSP, R12, R13, R14, R15, RIP = 3, 6, 7, 12, 13, 14, 15, 16
TRACKED = frozenset((RBX, RBP, RSP, R12, R13, R14, R15, RIP))

MAX_ENTRY = 64 << 10  # bytes; the largest of Debian's programs have a third of it
MAX_REMEMBERED = 32
MAX_AUGMENTATION = 8

PCREL, ALIGNED, INDIRECT, OMIT = 0x10, 0x50, 0x80, 0xFF  # DW_EH_PE_*
_FORMS = {0x0: 8, 0x2: 2, 0x3: 4, 0x4: 8, 0xA: 2, 0xB: 4, 0xC: 8}  # DW_EH_PE_*: bytes
_SIGNED_FORM = 0x8


def doubtful(what: str) -> HostileInputError:
    return HostileInputError(
        f"Unwind tables of the process: {what}.", "Judge that thread's stack word by word."
    )


class Cursor:
    """Reads little-endian fields one after the other. `origin` is the address of the first."""

    __slots__ = ("at", "data", "origin")

    def __init__(self, data: bytes, origin: int = 0) -> None:
        self.data = data
        self.origin = origin
        self.at = 0

    @property
    def more(self) -> bool:
        return self.at < len(self.data)

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if size < 0 or len(piece) != size:
            raise doubtful("an entry ends too soon")
        self.at += size
        return piece

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def uleb(self) -> int:
        return self._leb()[0]

    def sleb(self) -> int:
        value, bits, negative = self._leb()
        return value - (1 << bits) if negative else value

    def _leb(self) -> tuple[int, int, bool]:
        value = bits = 0
        while bits < 63:  # nine bytes: more than any address or size needs
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << bits
            bits += 7
            if not byte & 0x80:
                return value, bits, bool(byte & 0x40)
        raise doubtful("a number without end")

    def value(self, form: int) -> int:
        size = _FORMS.get(form)
        if size is None:
            raise doubtful(f"pointer form {form:#x}")
        return self.signed(size) if form & _SIGNED_FORM else self.unsigned(size)

    def pointer(self, encoding: int) -> int:
        """An address, absolute or relative to its own place."""
        base = self.origin + self.at if encoding & 0x70 == PCREL else 0
        if encoding & INDIRECT or encoding & 0x70 not in (0, PCREL):
            raise doubtful(f"pointer encoding {encoding:#x}")
        address = base + self.value(encoding & 0x0F)
        if not 0 < address < ADDRESS_SPACE:
            raise doubtful("an address that no process has")
        return address


# --- entries -----------------------------------------------------------------------------------


class CommonEntry(msgspec.Struct, frozen=True):
    """A CIE."""

    code_factor: int
    data_factor: int
    pointer_encoding: int
    sized: bool  # its FDEs carry augmentation data with a size
    signal: bool  # the frame was made by the kernel, which interrupted the one behind it
    program: bytes


class Entry(msgspec.Struct, frozen=True):
    """An FDE: the code in [start, end)."""

    start: int
    end: int
    common: CommonEntry
    program: bytes

    @property
    def extent(self) -> range:
        return range(self.start, self.end)


def parse_common(content: bytes, address: int) -> CommonEntry:
    """`content` begins behind the length field, at `address`."""
    cursor = Cursor(content, address)
    if cursor.unsigned(4) != 0:
        raise doubtful("an entry refers to what is no common entry")
    version = cursor.unsigned(1)
    if version not in (1, 3):
        raise doubtful(f"version {version}")
    augmentation = _augmentation(cursor)
    code_factor, data_factor = cursor.uleb(), cursor.sleb()
    if (cursor.unsigned(1) if version == 1 else cursor.uleb()) != RIP:
        raise doubtful("another return address register")
    encoding = _augmentation_data(cursor, augmentation) if augmentation else 0
    return CommonEntry(
        code_factor, data_factor, encoding, bool(augmentation), "S" in augmentation, cursor.rest()
    )


def _augmentation(cursor: Cursor) -> str:
    end = cursor.data.find(b"\0", cursor.at, cursor.at + MAX_AUGMENTATION)
    if end < 0:
        raise doubtful("an augmentation without end")
    text = cursor.take(end - cursor.at).decode("latin-1")
    cursor.take(1)
    if text and (text[0] != "z" or set(text[1:]) - set("RLPS") or len(set(text)) != len(text)):
        raise doubtful("an augmentation of unknown meaning")
    return text


def _augmentation_data(cursor: Cursor, augmentation: str) -> int:
    """The encoding of pointers to code."""
    data = Cursor(cursor.take(cursor.uleb()))
    encoding = 0
    for letter in augmentation[1:]:
        if letter == "R":
            encoding = data.unsigned(1)
        elif letter == "L":
            data.take(1)
        elif letter == "P":  # the personality routine, of no use here
            _skip_pointer(data)
    return encoding


def _skip_pointer(data: Cursor) -> None:
    encoding = data.unsigned(1)
    if encoding & 0x70 == ALIGNED:
        raise doubtful("an aligned pointer")
    data.value(encoding & 0x0F)


def parse_entry(content: bytes, address: int, common: CommonEntry) -> Entry:
    """`content` begins behind the length field, at `address`."""
    cursor = Cursor(content, address)
    cursor.take(4)
    start = cursor.pointer(common.pointer_encoding)
    size = cursor.value(common.pointer_encoding & 0x0F)
    if not 0 < size < ADDRESS_SPACE - start:
        raise doubtful("an entry for no code")
    if common.sized:
        cursor.take(cursor.uleb())
    return Entry(start, start + size, common, cursor.rest())


# --- rows --------------------------------------------------------------------------------------


class How(Enum):
    """Where a register's value before the call is."""

    UNDEFINED = auto()
    SAVED = auto()  # in memory at CFA + value
    VALUE = auto()  # it is CFA + value
    REGISTER = auto()  # in register `value`
    SAVED_AT = auto()  # in memory at the expression's value
    EXPRESSION = auto()  # it is the expression's value


class Rule(msgspec.Struct, frozen=True):
    how: How
    value: int = 0
    expression: bytes = b""


class Row(msgspec.Struct, frozen=True):
    """What holds at one address. A register without a rule is preserved."""

    cfa_register: int
    cfa_offset: int
    cfa_expression: bytes  # in place of register and offset, when not empty
    rules: Mapping[int, Rule]

    @property
    def is_base(self) -> bool:
        """Nothing called this code: the return address is marked as being nowhere."""
        rule = self.rules.get(RIP)
        return rule is not None and rule.how is How.UNDEFINED


def row_at(entry: Entry, address: int) -> Row:
    machine = _RowMachine(entry.common)
    machine.run(entry.program, entry.start, address)
    if machine.register < 0 and not machine.expression:
        raise doubtful("a row without frame address")
    return Row(machine.register, machine.offset, machine.expression, machine.rules)


class _RowMachine:
    """Executes call frame instructions up to an address."""

    def __init__(self, common: CommonEntry) -> None:
        self.common = common
        self.register, self.offset, self.expression = -1, 0, b""
        self.rules: dict[int, Rule] = {}
        self.initial: dict[int, Rule] = {}
        self.remembered: list[tuple[int, int, bytes, dict[int, Rule]]] = []
        if not self.run(common.program, 0, 0):
            raise doubtful("a common entry that moves")
        self.initial = dict(self.rules)

    def run(self, program: bytes, location: int, address: int) -> bool:
        """False when it stopped because the next row is beyond `address`."""
        cursor = Cursor(program)
        while cursor.more:
            opcode = cursor.unsigned(1)
            location += self._advance(cursor, opcode) * self.common.code_factor
            if location > address:
                return False
        return True

    def _advance(self, cursor: Cursor, opcode: int) -> int:
        """Executes one instruction; how far it moves, in code units."""
        high, low = opcode & 0xC0, opcode & 0x3F
        if high == 0x40:
            return low
        if high == 0x80:
            self.set_saved(low, cursor.uleb())
        elif high == 0xC0:
            self.restore(low)
        elif opcode in _ADVANCES:
            return cursor.unsigned(_ADVANCES[opcode])
        elif opcode in _INSTRUCTIONS:
            _INSTRUCTIONS[opcode](self, cursor)
        else:
            raise doubtful(f"instruction {opcode:#x}")
        return 0

    def set_rule(self, register: int, rule: Rule) -> None:
        if register in TRACKED:
            self.rules[register] = rule

    def set_saved(self, register: int, factored: int) -> None:
        self.set_rule(register, Rule(How.SAVED, factored * self.common.data_factor))

    def set_value(self, register: int, factored: int) -> None:
        self.set_rule(register, Rule(How.VALUE, factored * self.common.data_factor))

    def set_expression(self, how: How, cursor: Cursor) -> None:
        register = cursor.uleb()
        self.set_rule(register, Rule(how, 0, _block(cursor)))

    def restore(self, register: int) -> None:
        self.rules.pop(register, None)
        if register in self.initial:
            self.rules[register] = self.initial[register]

    def preserve(self, register: int) -> None:
        self.rules.pop(register, None)

    def remember(self) -> None:
        if len(self.remembered) == MAX_REMEMBERED:
            raise doubtful("too many remembered rows")
        self.remembered.append((self.register, self.offset, self.expression, dict(self.rules)))

    def recall(self) -> None:
        if not self.remembered:
            raise doubtful("no remembered row")
        self.register, self.offset, self.expression, self.rules = self.remembered.pop()

    def define_cfa(self, register: int, offset: int) -> None:
        self.register, self.offset, self.expression = register, offset, b""

    def define_cfa_expression(self, cursor: Cursor) -> None:
        self.register, self.offset, self.expression = -1, 0, _block(cursor)

    def change_register(self, register: int) -> None:
        self._needs_register()
        self.register = register

    def change_offset(self, offset: int) -> None:
        self._needs_register()
        self.offset = offset

    def _needs_register(self) -> None:
        if self.register < 0:
            raise doubtful("a change of a frame address that is not a register")

    def factored(self, cursor: Cursor) -> int:
        return cursor.sleb() * self.common.data_factor


def _block(cursor: Cursor) -> bytes:
    block = cursor.take(cursor.uleb())
    if not block:
        raise doubtful("an empty expression")
    return block


_ADVANCES = {0x02: 1, 0x03: 2, 0x04: 4}  # DW_CFA_advance_loc1, 2, 4
_INSTRUCTIONS: dict[int, Callable[[_RowMachine, Cursor], object]] = {
    0x00: lambda m, c: None,  # nop
    0x05: lambda m, c: m.set_saved(c.uleb(), c.uleb()),  # offset_extended
    0x06: lambda m, c: m.restore(c.uleb()),  # restore_extended
    0x07: lambda m, c: m.set_rule(c.uleb(), Rule(How.UNDEFINED)),
    0x08: lambda m, c: m.preserve(c.uleb()),  # same_value
    0x09: lambda m, c: m.set_rule(c.uleb(), Rule(How.REGISTER, c.uleb())),
    0x0A: lambda m, c: m.remember(),
    0x0B: lambda m, c: m.recall(),
    0x0C: lambda m, c: m.define_cfa(c.uleb(), c.uleb()),
    0x0D: lambda m, c: m.change_register(c.uleb()),  # def_cfa_register
    0x0E: lambda m, c: m.change_offset(c.uleb()),  # def_cfa_offset
    0x0F: lambda m, c: m.define_cfa_expression(c),
    0x10: lambda m, c: m.set_expression(How.SAVED_AT, c),
    0x11: lambda m, c: m.set_saved(c.uleb(), c.sleb()),  # offset_extended_sf
    0x12: lambda m, c: m.define_cfa(c.uleb(), m.factored(c)),  # def_cfa_sf
    0x13: lambda m, c: m.change_offset(m.factored(c)),  # def_cfa_offset_sf
    0x14: lambda m, c: m.set_value(c.uleb(), c.uleb()),  # val_offset
    0x15: lambda m, c: m.set_value(c.uleb(), c.sleb()),  # val_offset_sf
    0x16: lambda m, c: m.set_expression(How.EXPRESSION, c),
    0x2E: lambda m, c: c.uleb(),  # GNU_args_size: only exception landing pads need it
}
