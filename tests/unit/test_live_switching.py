"""The order of stores: after every single one, a set that belongs together is wholly old or new."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.errors import TargetRefusedError
from naht.live.native.linking import jump_bytes
from naht.live.native.switching import Entry, StubArea, Switching, hook_stub, plan_switching

STUBS = 0x7F00_0000


def make_entries(count: int, movable: list[bool]) -> list[Entry]:
    entries = []
    for i in range(count):
        address, new = 0x40_0000 + i * 64, 0x7F10_0000 + i * 64
        original = bytes([0x55, 0x48, 0x89, 0xE5, i])
        displaced = 0x7F20_0000 + i * 64 if movable[i] else 0
        entries.append(Entry(f"f{i}", address, original, jump_bytes(address, new), displaced, new))
    return entries


class Machine:
    """Runs entries, jumps and trampolines far enough to say which version a call reaches."""

    def __init__(self, switching: Switching, stubs: StubArea) -> None:
        self.memory: dict[int, int] = {}
        self.entries = {e.address: e for e in switching.entries}
        self.ways = {e.old_way: "old" for e in switching.entries if e.old_way}
        self.ways |= {e.new_way: "new" for e in switching.entries if e.new_way}
        for entry in switching.entries:
            self.store(entry.address, entry.before)
        self.store(STUBS, bytes(stubs.content))

    def store(self, address: int, data: bytes) -> None:
        self.memory.update({address + i: byte for i, byte in enumerate(data)})

    def load(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address + i] for i in range(size))

    def relative(self, at: int, field: int, size: int) -> int:
        return at + size + int(struct.unpack("<i", self.load(at + field, 4))[0])

    def call(self, entry: Entry) -> str:
        at = entry.address
        for _ in range(8):
            if at in self.ways:
                return self.ways[at]
            code = self.load(at, 5)
            if at in self.entries and code == self.entries[at].before:
                return "old"
            if code[:2] == b"\x81\x3d":
                same = self.load(self.relative(at, 2, 10), 4) == self.load(at + 6, 4)
                at = self.relative(at + 10, 2, 6) if same else self.relative(at + 16, 1, 5)
            else:
                assert code[:1] == b"\xe9", code.hex()
                at = self.relative(at, 1, 5)
        raise AssertionError("a call runs in a circle")


@given(st.integers(2, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_every_prefix_of_the_stores_is_wholly_old_or_wholly_new(shape: tuple[int, int]) -> None:
    count, fixed = shape
    entries = make_entries(count, [i != fixed for i in range(count)])
    stubs = StubArea(STUBS)
    switching = plan_switching(entries, together=True, stubs=stubs)
    machine = Machine(switching, stubs)
    seen = [{machine.call(e) for e in entries}]
    for address, data in switching.writes():
        machine.store(address, data)
        seen.append({machine.call(e) for e in entries})
    assert all(len(versions) == 1 for versions in seen)
    assert seen[0] == {"old"}
    assert seen[-1] == {"new"}
    assert all(machine.load(e.address, 5) == e.after for e in entries)


def test_a_set_with_two_entries_that_cannot_wait_is_refused() -> None:
    entries = make_entries(3, [False, False, True])
    with pytest.raises(TargetRefusedError) as refusal:
        plan_switching(entries, together=True, stubs=StubArea(STUBS))
    assert refusal.value.reason == "cannot-change-together"
    assert "f0" in refusal.value.cause
    assert "f1" in refusal.value.cause


def test_functions_that_may_overlap_need_no_trampolines() -> None:
    entries = make_entries(3, [False] * 3)
    stubs = StubArea(STUBS)
    switching = plan_switching(entries, together=False, stubs=stubs)
    assert not stubs.content
    assert switching.pivot == 0
    assert switching.writes() == [(e.address, e.after) for e in entries]


def test_a_single_function_is_its_own_pivot() -> None:
    (entry,) = make_entries(1, [False])
    switching = plan_switching([entry], together=True, stubs=StubArea(STUBS))
    assert switching.pivot == entry.address
    assert switching.writes() == [(entry.address, entry.after)]


def test_a_hook_stub_calls_the_hook_and_stores_beside_the_record() -> None:
    code = hook_stub(0x1000, 0x2000, 0x3000)
    assert 0x1000 + 9 + struct.unpack_from("<i", code, 5)[0] == 0x2000
    assert 0x1000 + 18 + struct.unpack_from("<i", code, 14)[0] == 0x3000
