"""Links an image for one place in one process: symbols to addresses, relocations to bytes.

Pure. Refuses (TargetRefusedError) a value that does not fit its field, which would mean that
something lies out of reach.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from naht.elf import constants as c
from naht.errors import TargetRefusedError
from naht.hotpatch.image import HotpatchImage, ImageRelocation, LoadedSection
from naht.hotpatch.manifest import Binding
from naht.live.native.arena import ArenaLayout, RegionLayout

ResolveBinding = Callable[[Binding], int]

_FORMATS = {
    c.R_X86_64_64: "<Q", c.R_X86_64_PC64: "<q", c.R_X86_64_PC32: "<i", c.R_X86_64_PLT32: "<i",
    c.R_X86_64_32: "<I", c.R_X86_64_32S: "<i",
}  # fmt: skip
_RELATIVE = frozenset({c.R_X86_64_PC32, c.R_X86_64_PLT32, c.R_X86_64_PC64})


def resolve_symbols(
    image: HotpatchImage, layout: ArenaLayout, base: int, bindings: Sequence[Binding],
    resolve: ResolveBinding,
) -> dict[str, int]:  # fmt: skip
    """Every symbol of the image → its address (or TLS module id) in the process."""
    addresses = {
        name: base + layout.sections[d.section] + d.value for name, d in image.symbols.items()
    }
    return addresses | {binding.symbol: resolve(binding) for binding in bindings}


def link_region(
    image: HotpatchImage, layout: ArenaLayout, region: RegionLayout, base: int,
    addresses: Mapping[str, int],
) -> bytearray:  # fmt: skip
    """The region's content at its place; the room for the engine's stubs stays zero."""
    content = bytearray(region.size)
    for section in image.sections:
        at = layout.sections[section.name]
        if region.offset <= at < region.offset + region.size and section.size:
            start = at - region.offset
            content[start : start + section.size] = link_section(section, base + at, addresses)
    return content


def link_section(section: LoadedSection, at: int, addresses: Mapping[str, int]) -> bytearray:
    content = bytearray(section.content.ljust(section.size, b"\0"))
    for relocation in section.relocations:
        value = addresses[relocation.symbol] + relocation.addend
        if relocation.type in _RELATIVE:
            value -= at + relocation.offset
        try:
            struct.pack_into(_FORMATS[relocation.type], content, relocation.offset, value)
        except struct.error:
            raise _out_of_reach(section, relocation) from None
    return content


def _out_of_reach(section: LoadedSection, relocation: ImageRelocation) -> TargetRefusedError:
    return TargetRefusedError(
        "out-of-reach",
        f"{relocation.symbol} is out of reach of {section.name} in this process.",
        "Restart the process with the fixed object on disk, and report this hotpatch.",
    )


def jump_bytes(source: int, destination: int) -> bytes:
    """`jmp rel32` at `source`."""
    return b"\xe9" + struct.pack("<i", destination - (source + 5))
