"""The old code as it was linked: each unit's plain object, and where its functions lie.

Owns finding them. What the link left out has no address.
"""

from __future__ import annotations

from pathlib import Path

from naht.build.native.linked import LinkedView
from naht.build.native.relocatable import Definition, Relocatable
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c


class OldCode:
    def __init__(self, link: LinkedView, unchanged: tuple[Path, ...]) -> None:
        self.link = link
        self.unchanged = unchanged
        self._views: dict[Path, Relocatable] = {}

    def plain(self, unit: UnitComparison) -> Relocatable:
        if unit.pair.old is None:
            return Relocatable.empty(Path(unit.pair.source))
        path = unit.pair.old.plain
        return self._view(path)

    def _view(self, path: Path) -> Relocatable:
        if path not in self._views:
            self._views[path] = Relocatable.load(path)
        return self._views[path]

    def mentions(self, path: Path, name: str) -> bool:
        """Whether a plain object refers to a global that it does not define."""
        symbols = self._view(path).elf.symbols
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
        """False for another unit's copy of an inline function, and for collected sections. What
        the plain object lacks altogether is for the comparison of forms to refuse."""
        plain = self.plain(unit)
        known = name in plain.functions or name in plain.data
        return not known or self.address(unit, name) is not None

    def code(self, address: int, size: int) -> bytes:
        return self.link.elf.read_address(address, size)
