"""Whether named read-only data of the new build says the same as in the old one: its bytes, what
its pointers name, and, in turn, the read-only data that they point to.
"""

from __future__ import annotations

from naht.build.compile_pair import UnitPair
from naht.build.native.meaning import Meanings
from naht.build.native.new_build import NewBuild
from naht.build.native.relocatable import Definition, Named
from naht.elf import constants as c


class ConstantData:
    def __init__(self, build: NewBuild) -> None:
        self._build = build
        self._known: dict[tuple[UnitPair, str], bool] = {}

    def changed(self, unit: UnitPair | None, definition: Definition | None) -> bool:
        """False for writable data, whose initial value is long gone, and for what no unit has."""
        if unit is None or definition is None or definition.section == c.SHN_COMMON:
            return False
        if not self._build.file(unit).is_read_only(definition.section):
            return False
        key = (unit, definition.name)
        if key not in self._known:
            self._known[key] = False  # what a cycle of pointers comes back to
            self._known[key] = self._differs(unit, definition)
        return self._known[key]

    def _differs(self, unit: UnitPair, definition: Definition) -> bool:
        old_file, old_name = self._build.old_file(unit), definition.name
        if definition.is_local:
            old_name = self._build.old_name(unit, definition.name) or ""
        if old_file is None or old_name not in old_file.data:
            return False  # defined elsewhere before; that it exists is for the caller to know
        new = Meanings(self._build.file(unit), lambda name: self._identity(unit, name))
        old = Meanings(old_file, str)
        if new.datum(definition.name) != old.datum(old_name):
            return True
        return any(self.changed(*pointee) for pointee in self._pointed_to(unit, definition))

    def _identity(self, unit: UnitPair, name: str) -> str:
        return self._build.old_name(unit, name) or f"\0new {name}"

    def _pointed_to(
        self, unit: UnitPair, definition: Definition
    ) -> list[tuple[UnitPair, Definition]]:
        file = self._build.file(unit)
        found = []
        for reference in file.references_of(definition):
            if isinstance(reference.target, Named):
                name = reference.target.symbol.name
                if name in file.data:
                    found.append((unit, file.data[name]))
                elif elsewhere := self._build.definer(name):
                    found.append(elsewhere)
        return found
