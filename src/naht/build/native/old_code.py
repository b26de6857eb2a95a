"""The old code as it was linked: each unit's plain object, and where its functions lie.

Owns finding them. What the link left out has no address.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from naht.build.native.linked import LinkedView
from naht.build.native.relocatable import SPECIAL_SECTIONS, Definition, Relocatable
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c

# How far the linker may rewrite around a field when it relaxes it (x86-64 psABI, appendix B, and
# the TLS transitions of "ELF Handling For Thread-Local Storage"): bytes before, bytes after
REWRITTEN = {
    c.R_X86_64_GOTPCREL: (3, 4), c.R_X86_64_GOTPCRELX: (3, 4), c.R_X86_64_REX_GOTPCRELX: (3, 4),
    c.R_X86_64_GOTTPOFF: (3, 4), c.R_X86_64_TLSGD: (4, 12), c.R_X86_64_TLSLD: (3, 10),
    c.R_X86_64_GOTPC32_TLSDESC: (3, 4), c.R_X86_64_TLSDESC_CALL: (0, 2),
}  # fmt: skip


class OldCode:
    def __init__(self, link: LinkedView, unchanged: tuple[Path, ...]) -> None:
        self.link = link
        self.unchanged = unchanged
        self._views: dict[Path, Relocatable] = {}

    def plain(self, unit: UnitComparison) -> Relocatable:
        if unit.pair.old is None:
            return Relocatable.empty(Path(unit.pair.source))
        path = unit.pair.old.plain
        return self.view(path)

    def view(self, path: Path) -> Relocatable:
        """A plain object, read once."""
        if path not in self._views:
            self._views[path] = Relocatable.load(path)
        return self._views[path]

    def mentions(self, path: Path, name: str) -> bool:
        """Whether a plain object refers to a global that it does not define."""
        symbols = self.view(path).elf.symbols
        return any(s.name == name and s.section == c.SHN_UNDEF for s in symbols)

    def function(self, unit: UnitComparison, name: str) -> Definition | None:
        """A function by its symbol in the plain object."""
        return self.plain(unit).functions.get(name)

    def address(self, unit: UnitComparison, name: str) -> int | None:
        """The link-time address of a function or datum; None when it was not linked."""
        plain = self.plain(unit)
        definition = plain.functions.get(name) or plain.data.get(name)
        return self.link.address_of(plain, definition) if definition else None

    def is_linked(self, unit: UnitComparison, name: str) -> bool:
        """False for another unit's copy of an inline function, for a weak definition that a
        strong one replaced, and for collected sections. What the plain object lacks altogether
        is for the comparison of forms to refuse."""
        plain = self.plain(unit)
        definition = plain.functions.get(name) or plain.data.get(name)
        if definition is None:
            return True
        address = self.address(unit, name)
        if address is None or definition.symbol.binding != c.STB_WEAK:
            return address is not None
        return self._global_addresses.get(name, address) == address

    @cached_property
    def _global_addresses(self) -> dict[str, int]:
        return {
            symbol.name: symbol.value
            for symbol in self.link.elf.symbols
            if symbol.binding != c.STB_LOCAL and symbol.section not in SPECIAL_SECTIONS
        }

    def code(self, address: int, size: int) -> bytes:
        return self.link.elf.read_address(address, size)

    def is_where_it_should_be(self, unit: UnitComparison, name: str) -> bool:
        """The linked code is the plain object's, but for what the linker fills in."""
        function, address = self.function(unit, name), self.address(unit, name)
        if function is None or address is None:
            return True  # refused elsewhere
        plain = self.plain(unit)
        mine = bytearray(plain.definition_bytes(function))
        linked = bytearray(self.code(address, function.size))
        for reference in plain.references_of(function):
            before, after = REWRITTEN.get(reference.type, (0, reference.size))
            low = max(reference.field - before - function.offset, 0)
            high = min(reference.field + after - function.offset, function.size)
            mine[low:high] = linked[low:high]
        return mine == linked
