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
        self._different: dict[tuple[UnitPair, str], bool] = {}
        self._meanings: dict[UnitPair, tuple[Meanings, Meanings]] = {}

    def changed(self, unit: UnitPair | None, definition: Definition | None) -> bool:
        """False for writable data, whose initial value is long gone, and for what no unit has."""
        if unit is None or definition is None:
            return False
        waiting, seen = [(unit, definition)], set()
        while waiting:
            home, constant = waiting.pop()
            key = (home, constant.name)
            if key in seen or not self._is_constant(home, constant):
                continue
            seen.add(key)
            if key not in self._different:
                self._different[key] = self._differs(home, constant)
            if self._different[key]:
                return True
            waiting += self._pointed_to(home, constant)
        return False

    def _is_constant(self, unit: UnitPair, definition: Definition) -> bool:
        return definition.section != c.SHN_COMMON and self._build.file(unit).is_read_only(
            definition.section
        )

    def _differs(self, unit: UnitPair, definition: Definition) -> bool:
        """By itself, whatever it points to."""
        old_file, old_name = self._build.old_file(unit), definition.name
        if definition.is_local:
            old_name = self._build.old_name(unit, definition.name) or ""
        if old_file is None or old_name not in old_file.data:
            return False  # defined elsewhere before; that it exists is for the caller to know
        if self._is_relative_table(unit, definition) or self._holds_labels(unit, definition):
            return True
        if unit not in self._meanings:
            new = Meanings(self._build.file(unit), lambda name: self._identity(unit, name))
            self._meanings[unit] = (Meanings(old_file, str), new)
        old, new = self._meanings[unit]
        return old.datum(old_name) != new.datum(definition.name)

    def _is_relative_table(self, unit: UnitPair, definition: Definition) -> bool:
        """Its entries can't be compared one by one; a copy of a constant is always right."""
        file = self._build.file(unit)
        return any(
            r.pc_relative and not isinstance(r.target, Named)
            for r in file.references_of(definition)
        )

    def _holds_labels(self, unit: UnitPair, definition: Definition) -> bool:
        """Places inside a function (computed goto) may have the same offsets in the old and the
        new code: they mean the one that is asking."""
        file = self._build.file(unit)
        return any(
            isinstance(r.target, Named)
            and r.target.offset
            and r.target.symbol.name in file.functions
            for r in file.references_of(definition)
        )

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
