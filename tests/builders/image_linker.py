"""Links a hotpatch image against the addresses of its target object, as the engine does in a
process, and says in words where each relocated field leads. For tests only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.hotpatch.image import HotpatchImage, check_image
from naht.hotpatch.manifest import Image

ARENA = 0x40000000
IMPORTS = 0x7F0000000000


@dataclass(frozen=True)
class LinkedImage:
    view: HotpatchImage
    addresses: dict[str, int]  # symbol → address
    memory: dict[str, bytearray]  # section → relocated bytes
    starts: dict[str, int]

    def read(self, address: int, size: int) -> bytes:
        for name, start in self.starts.items():
            if start <= address and address + size <= start + len(self.memory[name]):
                return bytes(self.memory[name][address - start : address - start + size])
        raise AssertionError(f"{address:#x} is not in the image")

    def code(self, symbol: str) -> tuple[int, bytes]:
        definition = self.view.symbols[symbol]
        return self.starts[definition.section], bytes(self.memory[definition.section])


def link(raw: bytes, image: Image, bias: int = 0) -> LinkedImage:
    view = check_image(ElfFile(raw), image)
    starts, memory, at = {}, {}, ARENA
    for section in view.sections:
        at = -(-at // section.alignment) * section.alignment
        starts[section.name] = at
        memory[section.name] = bytearray(section.content or bytes(section.size))
        at += section.size
    addresses = {n: starts[d.section] + d.value for n, d in view.symbols.items()}
    for number, binding in enumerate(image.bindings):
        distant = IMPORTS + number * 16
        addresses[binding.symbol] = bias + binding.offset if binding.kind == "object" else distant
    for section in view.sections:
        for r in section.relocations:
            relocate(memory[section.name], starts[section.name], r.offset, r.type,
                      addresses[r.symbol] + r.addend)  # fmt: skip
    return LinkedImage(view, addresses, memory, starts)


def relocate(memory: bytearray, start: int, offset: int, kind: int, value: int) -> None:
    """psABI 1.0, table 4.9; struct refuses what does not fit the field."""
    if kind in (c.R_X86_64_PC32, c.R_X86_64_PLT32, c.R_X86_64_PC64):
        value -= start + offset
    form = {
        c.R_X86_64_64: "<Q", c.R_X86_64_PC64: "<q", c.R_X86_64_32: "<I"
    }.get(kind, "<i")  # fmt: skip
    struct.pack_into(form, memory, offset, value)
