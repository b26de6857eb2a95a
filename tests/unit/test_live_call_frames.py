"""Call frame information, written by hand: what each instruction means, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.elf.constants import ET_DYN, PF_R, PF_X, PT_GNU_EH_FRAME, PT_LOAD
from naht.elf.file import Segment
from naht.errors import HostileInputError
from naht.live.native import cfi, code_sites, frame_index
from naht.live.native.call_frames import Chain, FrameTables, Snapshot, unwind
from naht.live.native.cfi import CommonEntry, Entry, How, Row, Rule, parse_common, parse_entry
from naht.live.native.dwarf_expression import MAX_OPERATIONS, evaluate
from naht.live.native.frame_index import EntryReader, areas_of
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.procfs import Mapping
from tests.builders.own_memory import OwnBytes, own_memory

PLACE = 0x10000  # where the entries are
CODE = 0x20000
SAVED_RIP = {cfi.RIP: Rule(How.SAVED, -8)}
INITIAL = b"\x0c\x07\x08\x90\x01"  # def_cfa rsp+8; rip at cfa-8
ENTRY_ROW = Row(cfi.RSP, 8, b"", SAVED_RIP)


def common(
    program: bytes = INITIAL, *, augmentation: bytes = b"zR", data: bytes = b"\x1b"
) -> bytes:
    """A CIE behind its length field."""
    sized = bytes([len(data)]) + data if augmentation else b""
    return bytes(4) + b"\x01" + augmentation + b"\0\x01\x78\x10" + sized + program


def row(program: bytes, offset: int = 0, initial: bytes = INITIAL) -> Row:
    entry = Entry(CODE, CODE + 0x10000, parse_common(common(initial), PLACE), program)
    return cfi.row_at(entry, CODE + offset)


def row_with(number: int, rule: Rule) -> Row:
    return Row(cfi.RSP, 8, b"", {**SAVED_RIP, number: rule})


# --- rows --------------------------------------------------------------------------------------


def test_the_initial_row_holds_everywhere_when_nothing_changes_it() -> None:
    assert row(b"\0\0\0") == row(b"", 0xFFFF) == ENTRY_ROW


@pytest.mark.parametrize(
    ("advance", "distance"),
    [(b"\x45", 5), (b"\x02\x05", 5), (b"\x03\x05\x01", 0x105), (b"\x04\x05\x01\x00\x00", 0x105)],
)
def test_a_change_holds_from_its_address_on(advance: bytes, distance: int) -> None:
    program = advance + b"\x0e\x10"
    assert row(program, distance - 1) == ENTRY_ROW
    assert row(program, distance) == Row(cfi.RSP, 16, b"", SAVED_RIP)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (b"\x86\x02", row_with(6, Rule(How.SAVED, -16))),  # offset
        (b"\x05\x06\x02", row_with(6, Rule(How.SAVED, -16))),
        (b"\x11\x06\x7e", row_with(6, Rule(How.SAVED, 16))),  # offset_extended_sf
        (b"\x14\x06\x02", row_with(6, Rule(How.VALUE, -16))),
        (b"\x15\x06\x7e", row_with(6, Rule(How.VALUE, 16))),
        (b"\x07\x06", row_with(6, Rule(How.UNDEFINED))),
        (b"\x09\x06\x03", row_with(6, Rule(How.REGISTER, 3))),
        (b"\x10\x06\x02\x77\x08", row_with(6, Rule(How.SAVED_AT, 0, b"\x77\x08"))),
        (b"\x16\x06\x02\x77\x08", row_with(6, Rule(How.EXPRESSION, 0, b"\x77\x08"))),
        (b"\x86\x02\xc6", ENTRY_ROW),  # restore
        (b"\x86\x02\x06\x06", ENTRY_ROW),  # restore_extended
        (b"\x86\x02\x08\x06", ENTRY_ROW),  # same_value
        (b"\x90\x02\xd0", ENTRY_ROW),  # restore to what the common entry says
        (b"\x91\x02", ENTRY_ROW),  # a vector register
        (b"\x2e\x30", ENTRY_ROW),  # args_size
        (b"\x0a\x0e\x20\x86\x02\x0b", ENTRY_ROW),  # remember, restore_state
        (b"\x0d\x06", Row(cfi.RBP, 8, b"", SAVED_RIP)),
        (b"\x12\x06\x7e", Row(cfi.RBP, 16, b"", SAVED_RIP)),  # def_cfa_sf
        (b"\x13\x7e", Row(cfi.RSP, 16, b"", SAVED_RIP)),
        (b"\x0f\x02\x77\x08", Row(-1, 0, b"\x77\x08", SAVED_RIP)),  # def_cfa_expression
        (b"\x0f\x02\x77\x08\x0c\x07\x08", ENTRY_ROW),
    ],
)
def test_instructions(program: bytes, expected: Row) -> None:
    assert row(program) == expected


def test_an_undefined_return_address_marks_the_base() -> None:
    assert row(b"\x07\x10").is_base
    assert not row(b"").is_base


@pytest.mark.parametrize(
    ("program", "initial"),
    [
        (b"\x01\x00\x00\x00\x00", INITIAL),  # set_loc
        (b"\x2d", INITIAL),  # of other architectures
        (b"\x2f\x06\x02", INITIAL),
        (b"\x3f", INITIAL),
        (b"\x0e", INITIAL),  # cut off
        (b"\x0e" + b"\x80" * 20 + b"\x01", INITIAL),
        (b"\x0b", INITIAL),  # nothing was remembered
        (b"\x0a" * (cfi.MAX_REMEMBERED + 1), INITIAL),
        (b"\x0f\x00", INITIAL),  # empty expression
        (b"\x0f\x7f\x77", INITIAL),
        (b"\x0f\x02\x77\x08\x0e\x10", INITIAL),  # an offset to no register
        (b"\x0f\x02\x77\x08\x0d\x06", INITIAL),
        (b"", b"\x90\x01"),  # no frame address at all
        (b"", INITIAL + b"\x41"),  # a common entry has no addresses
    ],
)
def test_programs_that_are_refused(program: bytes, initial: bytes) -> None:
    with pytest.raises(HostileInputError):
        row(program, 0x100, initial)


@given(st.binary(max_size=200), st.integers(0, 0xFFFF))
def test_any_program_gives_a_row_or_is_refused(program: bytes, offset: int) -> None:
    try:
        found = row(program, offset)
    except HostileInputError:
        return
    assert set(found.rules) <= cfi.TRACKED


# --- entries -----------------------------------------------------------------------------------


def test_common_entries() -> None:
    assert parse_common(common(), PLACE) == CommonEntry(1, -8, 0x1B, True, False, INITIAL)
    assert parse_common(common(augmentation=b""), PLACE).pointer_encoding == 0
    assert parse_common(common(augmentation=b"zRS"), PLACE).signal
    personality = b"\x9b" + bytes(4) + b"\x1b\x1b"
    parsed = parse_common(common(augmentation=b"zPLR", data=personality), PLACE)
    assert (parsed.pointer_encoding, parsed.program) == (0x1B, INITIAL)


@pytest.mark.parametrize(
    "content",
    [
        b"\x01" + common()[1:],  # not a common entry
        common()[:4] + b"\x04" + common()[5:],  # version
        common(augmentation=b"eh"),
        common(augmentation=b"zRX"),
        common(augmentation=b"RR"),
        common(augmentation=b"z" * 300),
        common(augmentation=b"zP", data=b"\x50" + bytes(8)),  # personality of unknown size
        common(data=b""),  # encoding is missing
        common().replace(b"\x78\x10", b"\x78\x11"),  # another return address register
        common()[:12],
        b"",
    ],
)
def test_common_entries_that_are_refused(content: bytes) -> None:
    with pytest.raises(HostileInputError):
        parse_common(content, PLACE)


def entry_of(encoding: int, fields: bytes) -> Entry:
    parsed = parse_common(common(data=bytes([encoding])), PLACE)
    return parse_entry(b"\x99\x99\x99\x99" + fields + b"\0" + b"\x0e\x10", PLACE, parsed)


@pytest.mark.parametrize(
    ("encoding", "start"),
    [
        (0x00, CODE.to_bytes(8, "little")),
        (0x03, CODE.to_bytes(4, "little")),
        (0x0B, CODE.to_bytes(4, "little")),
        (0x0C, CODE.to_bytes(8, "little")),
        (0x1B, (CODE - PLACE - 4).to_bytes(4, "little")),
        (0x1C, (CODE - PLACE - 4).to_bytes(8, "little")),
    ],
)
def test_pointer_encodings(encoding: int, start: bytes) -> None:
    entry = entry_of(encoding, start + (0x44).to_bytes(len(start), "little"))
    assert (entry.start, entry.end, entry.program) == (CODE, CODE + 0x44, b"\x0e\x10")


@pytest.mark.parametrize(
    ("encoding", "fields"),
    [
        (0x9B, bytes(8)),  # indirect
        (0x3B, bytes(8)),  # relative to data
        (0x50, bytes(16)),  # aligned
        (0x01, b"\x01\x01"),  # LEB128
        (0xFF, bytes(16)),
        (0x1B, b"\x00\x00\x00\x00\x00\x00\x00\x00"),  # no code
        (0x1B, b"\x00\x00\x00\x00\xff\xff\xff\xff"),  # negative size
        (0x0B, b"\xff\xff\xff\xff\x01\x00\x00\x00"),  # negative address
        (0x00, b"\x00\x00\x00\x00\x00\x00\x00\x80" + bytes(8)),  # the kernel's
        (0x00, (1 << 46).to_bytes(8, "little") * 3),
        (0x1B, b"\x00\x00"),
    ],
)
def test_entries_that_are_refused(encoding: int, fields: bytes) -> None:
    with pytest.raises(HostileInputError):
        entry_of(encoding, fields)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_are_an_entry_or_refused(first: bytes, second: bytes) -> None:
    try:
        entry = parse_entry(second, PLACE, parse_common(bytes(4) + b"\x01zR\0" + first, PLACE))
    except HostileInputError:
        return
    assert 0 < entry.start < entry.end <= 1 << 47


# --- expressions -------------------------------------------------------------------------------


class Registers:
    def register(self, number: int) -> int:
        return 0x1000 * number

    def word(self, address: int) -> int:
        return address ^ 0xFF


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (b"\x3f", 15),
        (b"\x77\x08", 0x7008),
        (b"\x77\x78", 0x6FF8),
        (b"\x77\x10\x06", 0x7010 ^ 0xFF),
        (b"\x76\x98\x7f\x06\x23\x08", (0x6000 - 104 ^ 0xFF) + 8),  # libcrypto's
        (b"\x08\xff", 255),
        (b"\x09\xff", (1 << 64) - 1),
        (b"\x0a\x34\x12", 0x1234),
        (b"\x0c\x78\x56\x34\x12", 0x12345678),
        (b"\x10\x80\x01", 128),
        (b"\x35\x33\x1c", 2),
        (b"\x35\x33\x1e", 15),
        (b"\x35\x33\x24", 40),
        (b"\x35\x08\x40\x24", 0),
        (b"\x35\x31\x25", 2),
        (b"\x33\x35\x1c\x30\x2d", 1),  # 3 - 5 < 0, signed
        (b"\x33\x33\x29", 1),
        (b"\x33\x33\x2e", 0),
    ],
)
def test_expressions(expression: bytes, value: int) -> None:
    assert evaluate(expression, Registers()) == value


def test_the_expression_that_linkers_write_for_linkage_stubs() -> None:
    stub = bytes.fromhex("7708800 03f1a3b2a332422".replace(" ", ""))

    class At(Registers):
        counter = 0

        def register(self, number: int) -> int:
            return self.counter if number == cfi.RIP else super().register(number)

    machine = At()
    for counter in range(0x4000, 0x4010):
        machine.counter = counter
        # Eleven bytes into a stub of sixteen it has pushed its number.
        assert evaluate(stub, machine) == 0x7008 + (8 if counter & 15 >= 11 else 0)


@pytest.mark.parametrize(
    "expression",
    [
        b"",
        b"\x06",  # nothing to read from
        b"\x22",
        b"\x30\x22",
        b"\x2f\x00\x00",  # skip
        b"\x30\x28\x00\x00",  # bra
        b"\x97",  # push_object_address
        b"\x9c",  # call_frame_cfa
        b"\x30" * 17,
        b"\x30" + b"\x23\x01" * MAX_OPERATIONS,
        b"\x0e\x00",
    ],
)
def test_expressions_that_are_refused(expression: bytes) -> None:
    with pytest.raises(HostileInputError):
        evaluate(expression, Registers())


@given(st.binary(max_size=100))
def test_any_expression_has_a_word_or_is_refused(expression: bytes) -> None:
    try:
        value = evaluate(expression, Registers(), 0x7000)
    except HostileInputError:
        return
    assert 0 <= value < 1 << 64


# --- code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "ff d0",  # call *%rax
        "41 ff d4",  # call *%r12
        "ff 10",  # call *(%rax)
        "ff 14 24",  # call *(%rsp)
        "ff 14 c5 00 00 00 00",  # call *0(,%rax,8)
        "ff 50 10",  # call *16(%rax)
        "ff 54 24 08",  # call *8(%rsp)
        "ff 90 00 01 00 00",  # call *256(%rax)
        "ff 94 24 00 01 00 00",  # call *256(%rsp)
        "ff 15 00 10 00 00",  # call *0x1000(%rip)
        "3e ff d0",  # notrack call *%rax
    ],
)
def test_indirect_calls(call: str) -> None:
    code = bytes.fromhex(call)
    assert code_sites.is_indirect_call((b"\x90" * 7 + code)[-7:])
    assert not code_sites.is_indirect_call((b"\x90" * 7 + code + b"\x90")[-7:])


@pytest.mark.parametrize("code", ["ff e0", "ff c0", "ff 60 10", "ff 25 00 10 00 00", "ff 1c 24"])
def test_jumps_and_far_calls_are_no_calls(code: str) -> None:
    assert not code_sites.is_indirect_call((b"\x90" * 7 + bytes.fromhex(code))[-7:])


def test_direct_calls() -> None:
    assert code_sites.call_target(b"\x90\x90\xe8\x10\x00\x00\x00", 0x1000) == 0x1010
    assert code_sites.call_target(b"\x90\x90\xe8\xf0\xff\xff\xff", 0x1000) == 0xFF0
    assert code_sites.call_target(b"\x90\x90\xe9\x10\x00\x00\x00", 0x1000) == 0


def test_what_stands_behind_the_first_call_of_a_thread() -> None:
    assert code_sites.begins_stack(bytes.fromhex("4889c7b83c0000000f05"))
    assert code_sites.begins_stack(bytes.fromhex("89c7b83c0000000f05"))
    assert code_sites.begins_stack(bytes.fromhex("f4662e0f1f84"))
    assert not code_sites.begins_stack(bytes.fromhex("4889c7b8e70000000f05"))
    assert not code_sites.begins_stack(b"\xc3")


SP, BP = 0x7000, 0x8000


@pytest.mark.parametrize(
    ("code", "slot"),
    [
        ("c3", SP),
        ("f3 c3", SP),
        ("c2 08 00", SP),
        ("5b 5d 41 5c 41 5d c3", SP + 32),
        ("48 83 c4 18 5b c3", SP + 0x20),
        ("48 81 c4 00 01 00 00 c3", SP + 0x100),
        ("48 8d 64 24 08 c3", SP + 8),
        ("c9 c3", BP + 8),
        ("31 c0 c5 f8 77 c9 c3", BP + 8),
        ("48 89 ec 5d c3", BP + 8),
        ("48 8d 65 f0 5b 41 5c 5d c3", BP - 16 + 24),
        ("5d c9 c3", None),  # the frame pointer is another's now
        ("5c c3", None),  # pop %rsp
        ("5b 90 e8 00 00 00 00 c3", None),
        ("48 83 c4 18 eb 10", None),
        ("5b 5b 5b", None),
        ("", None),
    ],
)
def test_where_the_end_of_a_function_finds_its_return_address(code: str, slot: int | None) -> None:
    assert code_sites.return_slot(bytes.fromhex(code), SP, lambda: BP) == slot


def test_jumps_out_of_code() -> None:
    code = bytes.fromhex("74 02 90 90 e9 00 01 00 00 0f 84 f1 ff ff ff")
    assert {0x1004, 0x1109, 0x1000} <= set(code_sites.jump_targets(code, 0x1000))
    assert not code_sites.has_indirect_jump(code)
    assert code_sites.has_indirect_jump(bytes.fromhex("f2 ff 25 00 00 00 00"))


# --- chains ------------------------------------------------------------------------------------


class World:
    """Code and tables in memory of this process, and a stack that is only a copy."""

    AREA = OwnBytes(0x4000)
    TABLE = 0x2000
    STACK = 0x7FFF00000000  # of the copy: 128 bytes of red zone, then the words
    SP = STACK + 128

    def __init__(self) -> None:
        self.code = bytearray(b"\xcc" * 0x2000)
        self.table = b""

    def at(self, offset: int) -> int:
        return self.AREA.address + offset

    def put(self, offset: int, code: str) -> int:
        """The address behind the code."""
        raw = bytes.fromhex(code)
        self.code[offset : offset + len(raw)] = raw
        return self.at(offset + len(raw))

    def call(self, offset: int, target: int) -> int:
        """The return address of a call."""
        return self.put(
            offset, "e8" + (target - offset - 5).to_bytes(4, "little", signed=True).hex()
        )

    def function(self, offset: int, program: bytes, augmentation: bytes = b"zR") -> int:
        """256 bytes of code, with an entry."""
        first = common(augmentation=augmentation)
        self.table += len(first).to_bytes(4, "little") + first
        here = self.TABLE + len(self.table)
        start = (offset - here - 8).to_bytes(4, "little", signed=True)
        content = (len(first) + 8).to_bytes(4, "little") + start + (256).to_bytes(4, "little")
        content += b"\0" + program
        self.table += len(content).to_bytes(4, "little") + content
        return self.at(offset)

    def unwind(self, offset: int, words: list[int], **registers: int) -> Chain | None:
        self.AREA.put(0, bytes(self.code))
        self.AREA.put(self.TABLE, self.table + bytes(4))
        maps = [
            Mapping(self.at(0), self.at(0x2000), "r-xp", 0, "00:00", 0, ""),
            Mapping(self.at(0x2000), self.at(0x4000), "r--p", 0, "00:00", 0, ""),
        ]
        with own_memory() as memory:
            tables = FrameTables(memory, maps, [self.at(self.TABLE)])
            return unwind(tables, self.snapshot(offset, words, **registers))

    def snapshot(self, offset: int, words: list[int], **registers: int) -> Snapshot:
        stack = bytes(128) + b"".join(word.to_bytes(8, "little") for word in words)
        names = ("rsp", "rbp", "rbx", "r12", "r13", "r14", "r15", "start")
        values = dict.fromkeys(names, 0) | {"rsp": self.SP, "start": self.STACK} | registers
        return Snapshot(thread=1, rip=self.at(offset), stack=stack, **values)


BASE, OUTER, INNER, OTHER = 0x100, 0x200, 0x300, 0x400
EXIT = "4889c7b83c0000000f05"
BASE_PROGRAM = b"\x07\x10"


def world(inner: bytes = b"\x0e\x10", outer: bytes = b"\x0e\x18") -> tuple[World, int, int]:
    """A world where base calls outer calls inner, and the two return addresses.

    Inner's frame is one word, outer's two, unless their programs say otherwise.
    """
    made = World()
    made.function(BASE, BASE_PROGRAM)
    made.function(OUTER, outer)
    made.function(INNER, inner)
    to_base = made.put(BASE, "ffd0")
    made.put(BASE + 2, EXIT)
    return made, made.call(OUTER + 8, INNER), to_base


def test_a_chain_and_all_that_it_rests_on() -> None:
    made, to_outer, to_base = world()
    assert made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base, 0, 0]) == Chain(
        counters=(made.at(INNER + 4), to_outer, to_base),
        words=((made.SP + 8, to_outer), (made.SP + 32, to_base)),
        registers=frozenset(),
    )


def test_the_frame_pointer_is_a_part_of_the_evidence_when_it_was_used() -> None:
    made, to_outer, to_base = world(inner=b"\x0c\x06\x10\x86\x02")
    words = [7, 7, 0, to_outer, 0, 0, to_base]
    chain = made.unwind(INNER + 4, words, rbp=made.SP + 16)
    assert chain is not None
    assert chain.counters == (made.at(INNER + 4), to_outer, to_base)
    assert chain.registers == {cfi.RBP}


def test_a_saved_register_is_a_part_of_the_evidence_when_it_was_used() -> None:
    # Inner has pushed RBP; outer's frame ends where RBP says.
    made, to_outer, to_base = world(inner=b"\x0e\x10\x86\x02", outer=b"\x0c\x06\x10\x86\x02")
    words = [World.SP + 32, to_outer, 0, 0, 7, to_base]
    chain = made.unwind(INNER + 4, words, rbp=99)
    assert chain == Chain(
        counters=(made.at(INNER + 4), to_outer, to_base),
        words=((made.SP, made.SP + 32), (made.SP + 8, to_outer), (made.SP + 40, to_base)),
        registers=frozenset(),
    )


def test_a_register_that_lives_on_in_another_is_a_part_of_the_evidence() -> None:
    # Inner has saved RBX on the stack, and RBP in what was RBX.
    inner = b"\x0e\x10\x83\x02\x09\x06\x03"
    made, to_outer, to_base = world(inner, outer=b"\x0c\x06\x10")
    chain = made.unwind(INNER + 4, [0, to_outer, 0, 0, 0, to_base], rbx=World.SP + 32)
    assert chain is not None
    assert chain.registers == {cfi.RBX}


def test_a_tail_call_leaves_no_frame() -> None:
    made, _, to_base = world()
    made.function(OTHER, b"\x0e\x10")
    made.put(INNER + 9, "e9" + (OTHER - INNER - 14).to_bytes(4, "little").hex())
    to_outer = made.call(OUTER + 8, INNER)
    chain = made.unwind(OTHER + 4, [0, to_outer, 0, 0, to_base])
    assert chain is not None
    assert chain.counters == (made.at(OTHER + 4), to_outer, to_base)


def test_a_call_of_something_else_is_no_evidence() -> None:
    made, to_outer, to_base = world()
    made.function(OTHER, b"\x0e\x10")
    assert made.unwind(OTHER + 4, [0, to_outer, 0, 0, to_base]) is None


def test_a_call_at_the_very_end_of_its_function() -> None:
    made, _, to_base = world()
    to_outer = made.call(OUTER + 251, INNER)  # returns to where the next function begins
    assert to_outer == made.at(INNER)
    chain = made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base])
    assert chain is not None
    assert chain.counters == (made.at(INNER + 4), to_outer, to_base)


def signal_world() -> tuple[World, int, int, list[int]]:
    """Inner is a handler that interrupted outer. The kernel's frame is behind its frame."""
    made, _, to_base = world()
    frame = b"\x0f\x04\x77\xa0\x01\x06"  # the CFA is what stands at rsp+160
    frame += b"\x10\x10\x03\x77\xa8\x01" + b"\x10\x06\x03\x77\xf8\x00"  # rip, rbp
    made.function(OTHER, frame, augmentation=b"zRS")
    made.put(OTHER + 16, "48c7c00f0000000f05")
    restorer = made.at(OTHER + 16)
    context = [0] * 40
    context[20], context[21] = World.SP + 8 * 42, made.at(OUTER + 20)
    return made, restorer, to_base, [0, restorer, *context, 0, 0, to_base, 0]


def test_behind_a_signal_frame_is_what_was_interrupted() -> None:
    made, restorer, to_base, words = signal_world()
    chain = made.unwind(INNER + 4, words)
    assert chain is not None
    assert chain.counters == (made.at(INNER + 4), restorer, made.at(OUTER + 20), to_base)
    used = [World.SP + 8 * index for index in (1, 22, 23, 44)]
    assert [address for address, _ in chain.words] == used


@pytest.mark.parametrize("elsewhere", [World.SP - 0x10000, World.SP + 0x10000, 0, World.SP + 17])
def test_a_signal_that_interrupted_another_stack(elsewhere: int) -> None:
    made, _, _, words = signal_world()
    words[22] = elsewhere
    assert made.unwind(INNER + 4, words) is None


def test_a_signal_frame_must_return_from_the_signal() -> None:
    made, _, _, words = signal_world()
    made.put(OTHER + 16, "48c7c03c0000000f05")
    assert made.unwind(INNER + 4, words) is None


@pytest.mark.parametrize(
    "program",
    [
        b"\x0e\x08\x0c\x07\x00",  # no room for a return address
        b"\x0e\x0c",  # between words
        b"\x12\x07\x01",  # below the stack pointer
        b"\x0e\xff\xff\x03",  # beyond the copy
        b"\x0c\x06\x10",  # of a register that points nowhere
        b"\x0c\x00\x10",  # of a register that was not copied
        b"\x0f\x03\x77\x78\x06",  # from the red zone
        b"\x0e\x10\x08\x10",  # no return address
        b"\x0e\x18\x90\x02",  # one that lies elsewhere
        b"\x0e\x10\x09\x10\x03",  # one that lies in a register
        b"\x0e\x10\x87\x02",  # another stack pointer than the CFA
        b"\x07\x10",  # the base of the stack, not behind a call
        b"\x3f",
    ],
)
def test_frames_in_doubt(program: bytes) -> None:
    made, to_outer, to_base = world(inner=program)
    assert made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base, 0, 0]) is None


def test_registers_that_nobody_kept() -> None:
    for inner in (b"\x0e\x10\x07\x06", b"\x0e\x10\x09\x06\x00", b"\x0e\x10\x86\x04"):
        made, to_outer, to_base = world(inner, outer=b"\x0c\x06\x10")
        words = [0, to_outer, 0, 0, 0, to_base]
        assert made.unwind(INNER + 4, words, rbp=World.SP + 32) is None
    made, to_outer, to_base = world(outer=b"\x0c\x06\x10")
    assert made.unwind(INNER + 4, words, rbp=World.SP + 32) is not None


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_copy_that_ends_too_soon(cut: int) -> None:
    made, to_outer, to_base = world()
    assert made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base][:-cut]) is None


def test_return_addresses_behind_no_call() -> None:
    made, to_outer, to_base = world()
    for wrong in (to_outer - 1, to_outer + 1, made.at(OUTER), made.at(0x1000), 0, 1 << 63):
        assert made.unwind(INNER + 4, [0, wrong, 0, 0, to_base]) is None
    for wrong in (to_base - 1, to_base + 1, made.at(BASE), 0):
        assert made.unwind(INNER + 4, [0, to_outer, 0, 0, wrong]) is None


def test_a_base_from_which_the_thread_could_return() -> None:
    made, to_outer, to_base = world()
    made.put(BASE + 2, "c3")
    assert made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base]) is None


def test_code_without_an_entry() -> None:
    made, to_outer, to_base = world()
    assert made.unwind(OTHER + 4, [0, to_outer, 0, 0, to_base]) is None
    assert made.unwind(-0x10000, [0, to_outer, 0, 0, to_base]) is None


def test_an_entry_that_contradicts_the_code() -> None:
    made, to_outer, to_base = world()
    made.put(INNER + 4, "5bc3")  # pop, ret: the return address is at rsp+8, as the entry says
    assert made.unwind(INNER + 4, [to_outer, to_outer, 0, 0, to_base]) is not None
    assert made.unwind(INNER + 5, [to_outer, to_outer, 0, 0, to_base]) is None


def test_a_stack_pointer_between_words() -> None:
    made, to_outer, to_base = world()
    words = [0, to_outer, 0, 0, to_base, 0]
    assert made.unwind(INNER + 4, words, rsp=World.SP + 4) is None
    assert made.unwind(INNER + 4, words, start=World.STACK + 4) is None


@pytest.mark.parametrize(("depth", "found"), [(4000, True), (5000, False)])
def test_the_depth_has_a_bound(depth: int, found: bool) -> None:
    made, _, to_base = world(inner=b"\x0e\x08")
    to_inner, to_outer = made.call(INNER + 8, INNER), made.call(OUTER + 8, INNER)
    chain = made.unwind(INNER + 4, [to_inner] * depth + [to_outer, 0, 0, to_base])
    assert (chain is not None) == found
    assert chain is None or len(chain.counters) == depth + 3


def test_the_work_for_one_process_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made, to_outer, to_base = world()
    words = [0, to_outer, 0, 0, to_base]
    assert made.unwind(INNER + 4, words) is not None
    monkeypatch.setattr(frame_index, "MAX_WORK", 100)
    assert made.unwind(INNER + 4, words) is None


def test_jumps_without_end_lead_nowhere() -> None:
    made, _, to_base = world()
    made.function(OTHER, b"\x0e\x10")
    made.put(INNER + 9, "e9" + (OUTER - INNER - 14).to_bytes(4, "little", signed=True).hex())
    made.put(OUTER + 60, "e9" + (INNER - OUTER - 65).to_bytes(4, "little", signed=True).hex())
    to_outer = made.call(OUTER + 8, INNER)
    assert made.unwind(OTHER + 4, [0, to_outer, 0, 0, to_base]) is None


def test_a_registered_table_that_is_damaged_is_not_known() -> None:
    made, to_outer, to_base = world()
    made.table = made.table[:-1] + b"\x3f" + (0xFFFFFFF0).to_bytes(4, "little")
    assert made.unwind(INNER + 4, [0, to_outer, 0, 0, to_base]) is None


@given(st.data())
def test_damaged_tables_never_do_more_than_raise_doubt(data: st.DataObject) -> None:
    made, restorer, to_base, words = signal_world()
    true = (made.at(INNER + 4), restorer, made.at(OUTER + 20), to_base)
    table = bytearray(made.table)
    for _ in range(data.draw(st.integers(1, 4))):
        table[data.draw(st.integers(0, len(table) - 1))] = data.draw(st.integers(0, 255))
    made.table = bytes(table)
    chain = made.unwind(INNER + 4, words)
    assert chain is None or chain.counters[0] == true[0]


# --- search tables -----------------------------------------------------------------------------

KINDS = {0x3B: 4, 0x3C: 8}


def search_table(
    entries: list[tuple[int, int]], kind: int = 0x3B, count: int | None = None
) -> bytes:
    """An .eh_frame_hdr. Entries are (code, entry), relative to it."""
    size = KINDS.get(kind, 4)
    number = len(entries) if count is None else count
    rows = b"".join(part.to_bytes(size, "little", signed=True) for row in entries for part in row)
    return bytes([1, 0x1B, 0x03, kind]) + b"\x10\0\0\0" + number.to_bytes(4, "little") + rows


def found(address: int, header: bytes, size: int | None = None) -> Entry:
    """Looks up an offset in a world of two functions, whose search table is `header`."""
    made = World()
    made.function(OUTER, b"")
    made.function(INNER, b"\x0e\x10")
    made.AREA.put(World.TABLE, made.table)
    made.AREA.put(HEADER, header)
    code = Segment(PT_LOAD, PF_R | PF_X, 0, 0, 0x2000, 0x2000, 0x1000)
    tables = Segment(PT_LOAD, PF_R, 0x2000, 0x2000, 0x2000, 0x2000, 0x1000)
    index = Segment(PT_GNU_EH_FRAME, PF_R, HEADER, HEADER, len(header), size or len(header), 4)
    elf = LoadedElf(made.at(0), made.at(0), ET_DYN, (code, tables, index), None, b"", 0)
    with own_memory() as memory:
        reader = EntryReader(memory)
        (area,) = areas_of(reader, elf)
        assert (area.start, area.end) == (made.at(0), made.at(0x2000))
        return reader.entry(area, made.at(address))


HEADER = 0x3000
FIRST, SECOND = 0x2000 + 22, 0x2000 + 22 + 17 + 22  # a common entry before each
ROWS = [(OUTER - HEADER, FIRST - HEADER), (INNER - HEADER, SECOND - HEADER)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_table_finds_the_entry(kind: int) -> None:
    header = search_table(ROWS, kind)
    for offset, start in ((OUTER, OUTER), (OUTER + 255, OUTER), (INNER, INNER), (0x1FFF, INNER)):
        assert found(offset, header).start == World.AREA.address + start


@pytest.mark.parametrize(
    "header",
    [
        b"\x02" + search_table(ROWS)[1:],  # version
        search_table(ROWS, 0x1B),
        search_table(ROWS, 0xFF),
        search_table(ROWS)[:2] + b"\xff" + search_table(ROWS)[3:],  # no count
        search_table(ROWS, count=3),
        search_table(ROWS, count=0xFFFFFFFF),
        search_table([]),
        search_table(ROWS)[:10],
        search_table([(INNER - HEADER, SECOND - HEADER)]),  # the code is before it
        search_table([(OUTER - HEADER, 0x2000 - HEADER)]),  # a common entry
        search_table([(OUTER - HEADER, 0x7FFFFFFF)]),
        search_table([(OUTER - HEADER, -0x80000000)]),
        search_table([(OUTER - HEADER, 0x3FFE - HEADER)]),
        search_table([(OUTER - HEADER, 0x3800 - HEADER)]),  # a size of zero
        search_table([(OUTER - HEADER, FIRST + 1 - HEADER)]),
    ],
)
def test_search_tables_that_are_refused(header: bytes) -> None:
    with pytest.raises(HostileInputError):
        found(OUTER + 4, header)
