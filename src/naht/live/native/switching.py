"""How the entries of a set of functions change, so that the set changes as one.

A set that must change together has a pivot: one entry whose own store is the switch. Every other
entry first jumps to a trampoline that looks at the pivot's bytes and goes the old or the new way;
then the pivot is stored; then the trampolines are bypassed. After every single store the set is
wholly old or wholly new, so that it does not matter where the writer dies. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from naht.errors import TargetRefusedError
from naht.live.native.arena import STUB_SIZE
from naht.live.native.linking import jump_bytes

JUMP_SIZE = 5


class Entry(msgspec.Struct, frozen=True):
    """One entry to change. A way of 0 means that this behaviour has no address of its own."""

    name: str
    address: int
    before: bytes
    after: bytes
    old_way: int  # runs what `before` runs
    new_way: int  # runs what `after` runs

    @property
    def can_wait(self) -> bool:
        """Whether it can stand on a trampoline while the pivot decides."""
        return bool(self.old_way and self.new_way)


class Switching(msgspec.Struct, frozen=True):
    """`between` holds, for each entry, the jump to its trampoline, or b"" where there is none."""

    entries: tuple[Entry, ...]
    between: tuple[bytes, ...]
    pivot: int  # address; 0: every entry for itself

    def writes(self) -> list[tuple[int, bytes]]:
        """The stores in their order."""
        waiting = [
            (e.address, between)
            for e, between in zip(self.entries, self.between, strict=True)
            if between
        ]
        pivots = [(e.address, e.after) for e in self.entries if e.address == self.pivot]
        rest = [(e.address, e.after) for e in self.entries if e.address != self.pivot]
        return waiting + pivots + rest


class StubArea:
    """Stubs of the engine's own, one behind the other from an address on."""

    def __init__(self, start: int) -> None:
        self.next = start
        self.content = bytearray()

    def add(self, code: bytes) -> int:
        at = self.next
        self.content += code.ljust(STUB_SIZE, b"\xcc")
        self.next += STUB_SIZE
        return at


def plan_switching(entries: Sequence[Entry], together: bool, stubs: StubArea) -> Switching:
    """`together`: the set changes as one. Refuses when more than one entry cannot wait."""
    if not together or len(entries) < 2:
        pivot = entries[0].address if together and entries else 0
        return Switching(tuple(entries), (b"",) * len(entries), pivot)
    pivot_entry = _choose_pivot(entries)
    test = _pivot_test(pivot_entry)
    between = []
    for entry in entries:
        if entry is pivot_entry:
            between.append(b"")
            continue
        at = stubs.add(trampoline(stubs.next, test, entry.new_way, entry.old_way))
        between.append(jump_bytes(entry.address, at))
    return Switching(tuple(entries), tuple(between), pivot_entry.address)


def _choose_pivot(entries: Sequence[Entry]) -> Entry:
    unable = [entry for entry in entries if not entry.can_wait]
    if len(unable) > 1:
        names = ", ".join(entry.name for entry in unable)
        raise TargetRefusedError(
            "cannot-change-together",
            f"The first instructions of {names} cannot be moved, so these functions cannot "
            "be switched as one.",
            "If old and new versions of them may run side by side, build with "
            "--consistency overlap; else restart the process with the fixed object on disk.",
        )
    candidates = unable or [e for e in entries if e.after[:1] == b"\xe9"] or list(entries)
    return candidates[0]


class PivotTest(msgspec.Struct, frozen=True):
    """The pivot has switched when the four bytes at `address` are `value`."""

    address: int
    value: bytes


def _pivot_test(pivot: Entry) -> PivotTest:
    for skip in (1, 0):
        after = pivot.after[skip : skip + 4]
        if pivot.before[skip : skip + 4] != after:
            return PivotTest(pivot.address + skip, after)
    raise TargetRefusedError(
        "nothing-to-switch",
        f"{pivot.name} already holds the bytes that would be written.",
        "Run `naht status` to see what is in the process.",
    )


def trampoline(at: int, test: PivotTest, new_way: int, old_way: int) -> bytes:
    """cmpl $value, address(%rip); je new_way; jmp old_way. Flags are dead at a function's entry."""
    code = b"\x81\x3d" + struct.pack("<i", test.address - (at + 10)) + test.value
    code += b"\x0f\x84" + struct.pack("<i", new_way - (at + 16))
    code += jump_bytes(at + 16, old_way)
    return code


def hook_stub(at: int, hook: int, result: int) -> bytes:
    """sub $8,%rsp; call hook; cltq; mov %rax,result(%rip); add $8,%rsp; ret."""
    code = b"\x48\x83\xec\x08\xe8" + struct.pack("<i", hook - (at + 9))
    code += b"\x48\x98\x48\x89\x05" + struct.pack("<i", result - (at + 18))
    return code + b"\x48\x83\xc4\x08\xc3"
