"""The first instructions of old functions, moved: which can be, and what the moved ones reach."""

from __future__ import annotations

import struct

import pytest
from iced_x86 import Decoder, FlowControl

from naht.build.native.displaced import displace
from naht.elf import constants as c

OLD, NEW = 0x401000, 0x7000_0000
ENDBR64 = "f30f1efa"


def moved(code: str, redirect: int = 0) -> list[str] | None:
    """The moved instructions, linked at NEW, as text; branch targets and places as addresses."""
    found = displace(bytes.fromhex(code) + b"\x90" * 8, OLD, OLD + redirect)
    if found is None:
        return None
    raw = bytearray(found.code)
    for f in found.fields:
        assert f.type in (c.R_X86_64_PC32, c.R_X86_64_PLT32)
        struct.pack_into("<i", raw, f.offset, f.target + f.addend - (NEW + f.offset))
    return [str(i).replace(" near ptr", "") for i in Decoder(64, bytes(raw), ip=NEW)]


def at(address: int) -> str:
    return f"{address:016X}h"


@pytest.mark.parametrize(
    ("code", "redirect", "expected"),
    [
        ("4155415455", 0, ["push r13", "push r12", "push rbp", f"jmp {at(OLD + 5)}"]),
        (ENDBR64 + "554889e553", 4, ["endbr64", "push rbp", "mov rbp,rsp", "push rbx",
                                     f"jmp {at(OLD + 9)}"]),
        ("488b0510000000", 0, ["mov rax,[401017h]", f"jmp {at(OLD + 7)}"]),
        ("833d1000000005", 0, ["cmp dword ptr [401017h],5", f"jmp {at(OLD + 7)}"]),
        ("4885ff7410", 0, ["test rdi,rdi", f"je {at(OLD + 0x15)}", f"jmp {at(OLD + 5)}"]),
        ("0f8f00010000", 0, [f"jg {at(OLD + 0x106)}", f"jmp {at(OLD + 6)}"]),
        ("eb20909090", 0, None),  # what follows a jump is not this entry's code
        ("e900010000", 0, [f"jmp {at(OLD + 0x105)}"]),
        ("909090eb10", 0, ["nop", "nop", "nop", f"jmp {at(OLD + 0x15)}"]),
        ("31c0909090c3", 0, ["xor eax,eax", "nop", "nop", "nop", f"jmp {at(OLD + 5)}"]),
        ("90909031c0c3", 0, ["nop", "nop", "nop", "xor eax,eax", f"jmp {at(OLD + 5)}"]),
        ("31c0909048c3", 0, ["xor eax,eax", "nop", "nop", "ret"]),
        ("ff2510000000", 0, ["jmp qword ptr [401016h]"]),
        ("e310909090", 0, None),  # jrcxz has no long form
        ("e2fe909090", 0, None),
        ("7502909090", 0, None),  # branches into the overwritten bytes
        ("4885ff75fb", 0, None),  # to the entry itself
        ("488b05f2ffffff", 0, ["mov rax,[400FF9h]", f"jmp {at(OLD + 7)}"]),
        ("488b05faffffff", 0, None),  # reads the moved bytes themselves
        ("ffd0909090", 0, None),  # a call that would return into moved code
        ("c3", 0, None),
        ("0f0b909090", 0, ["ud2", "nop", "nop", "nop", f"jmp {at(OLD + 5)}"]),
        ("6706909090", 0, None),  # not an instruction
    ],
)  # fmt: skip
def test_what_moves(code: str, redirect: int, expected: list[str] | None) -> None:
    assert moved(code, redirect) == expected


@pytest.mark.parametrize("call", ["e800010000", "ff1500010000"])
def test_a_moved_call_leaves_the_old_return_address(call: str) -> None:
    found = displace(bytes.fromhex("4883ec08" + call), OLD, OLD)
    assert found is not None
    raw = bytearray(found.code)
    for f in found.fields:
        struct.pack_into("<i", raw, f.offset, f.target + f.addend - (NEW + f.offset))
    instructions = list(Decoder(64, bytes(raw), ip=NEW))
    assert [i.flow_control for i in instructions][:2] == [FlowControl.NEXT, FlowControl.CALL]
    push, correct, jump = instructions[1:4]
    assert push.near_branch64 == correct.ip  # it pushes the address of what corrects it
    corrected = correct.ip + correct.immediate(1)
    assert corrected & 0xFFFFFFFFFFFFFFFF == OLD + 4 + len(bytes.fromhex(call))
    target = jump.near_branch64 if call.startswith("e8") else jump.ip_rel_memory_address
    assert target == OLD + 4 + len(bytes.fromhex(call)) + 0x100
