"""Names the functions whose code differs between two builds of one object that are laid out
differently, so that a refusal can say where to look.

Functions are told by the unwind tables, which stripped objects have too; their code is compared
without the addresses in it. This is for people: it proves nothing, and where it can't read a table
it names nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator

from iced_x86 import Instruction, Mnemonic

from naht.build.native.instructions import decode, displacement_offset, is_near_branch
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import HostileInputError

MAX_CODE = 64 << 20
_HEADER = struct.Struct("<BBBBiI")  # version, three encodings, .eh_frame, count
_ENCODINGS = (1, 0x1B, 0x03, 0x3B)  # as GNU ld writes it: a sorted table of offsets from its start
_ROW = struct.Struct("<ii")
_ENTRY = struct.Struct("<IIiI")  # length, CIE, start from here, size


def differing_functions(old: ElfFile, running: ElfFile) -> list[str]:
    """Names, by the symbols of `old`, of code that `running` lacks."""
    try:
        mine, theirs = list(_functions(old)), list(_functions(running))
    except HostileInputError:
        return []
    if not theirs or sum(size for _, size in (*mine, *theirs)) > MAX_CODE:
        return []
    there = Counter(_digest(running, start, size) for start, size in theirs)
    names = {s.value: s.name for s in old.symbols if s.type in (c.STT_FUNC, c.STT_GNU_IFUNC)}
    missing = []
    for start, size in mine:
        digest = _digest(old, start, size)
        there[digest] -= 1
        if there[digest] < 0 and start in names:
            missing.append(names[start])
    return missing


def _functions(elf: ElfFile) -> Iterator[tuple[int, int]]:
    """(start, size) of every entry of the unwind table."""
    segment = next((s for s in elf.segments if s.type == c.PT_GNU_EH_FRAME), None)
    if segment is None or segment.memory_size < _HEADER.size:
        return
    table = elf.read_address(segment.address, segment.memory_size)
    *encodings, _, count = _HEADER.unpack_from(table)
    if tuple(encodings) != _ENCODINGS or _HEADER.size + count * _ROW.size > len(table):
        return
    rows = table[_HEADER.size : _HEADER.size + count * _ROW.size]
    for start, entry in _ROW.iter_unpack(rows):
        address = segment.address + entry
        _, _, distance, size = _ENTRY.unpack(elf.read_address(address, _ENTRY.size))
        if address + 8 + distance == segment.address + start:
            yield segment.address + start, size


def _digest(elf: ElfFile, start: int, size: int) -> bytes:
    code = elf.read_address(start, size)
    digest = hashlib.sha256()
    for instruction in decode(code, start):
        if instruction.mnemonic != Mnemonic.NOP:
            at = instruction.ip - start
            digest.update(_without_address(code[at : at + instruction.len], instruction))
    return digest.digest()


def _without_address(raw: bytes, instruction: Instruction) -> bytes:
    if is_near_branch(instruction):
        return b"branch" + struct.pack("<i", instruction.mnemonic)
    if instruction.is_ip_rel_memory_operand:
        at = displacement_offset(raw, instruction.ip)
        return raw[:at] + bytes(4) + raw[at + 4 :]
    return raw
