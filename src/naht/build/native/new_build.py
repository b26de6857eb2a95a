"""The new build as the emitter sees it: units, who defines which global, and what a new local
symbol was called before. Reads files once; judges nothing.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from naht.build.compile_pair import BuiltPair, UnitPair
from naht.build.native.changes import ChangeSet, IncludedFunction
from naht.build.native.relocatable import FUNCTION_TYPES, Definition, Relocatable
from naht.build.native.running_object import RunningObject
from naht.errors import BuildRefusedError


class NewBuild:
    def __init__(self, pair: BuiltPair, changes: ChangeSet) -> None:
        self.pair = pair
        self.changes = changes
        self._files: dict[Path, Relocatable] = {}

    def file(self, unit: UnitPair) -> Relocatable:
        if unit.new is None:
            raise ValueError(f"{unit.source} has no new side")
        return self._load(unit.new.sectioned)

    def old_file(self, unit: UnitPair) -> Relocatable | None:
        return self._load(unit.old.sectioned) if unit.old else None

    def _load(self, path: Path) -> Relocatable:
        if path not in self._files:
            self._files[path] = Relocatable.load(path)
        return self._files[path]

    def old_name(self, unit: UnitPair, name: str) -> str | None:
        """What a local symbol of the new unit is in the old one; None when it is new.

        The change set pairs locals; a global that became static is still the same thing.
        """
        if matched := self.changes.matched.get(unit, {}).get(name):
            return matched
        old = self.old_file(unit)
        definition = (old.functions.get(name) or old.data.get(name)) if old else None
        return name if definition and not definition.is_local else None

    def definition(self, unit: UnitPair, name: str) -> Definition | None:
        file = self.file(unit)
        return file.functions.get(name) or file.data.get(name)

    def definer(self, name: str) -> tuple[UnitPair, Definition] | None:
        """The rebuilt unit that defines a global; of several (COMDAT) the first."""
        return self._globals.get(name)

    @cached_property
    def _globals(self) -> dict[str, tuple[UnitPair, Definition]]:
        found: dict[str, tuple[UnitPair, Definition]] = {}
        for unit in self.pair.units:
            if unit.new is not None:
                file = self.file(unit)
                for definition in (*file.functions.values(), *file.data.values()):
                    if not definition.is_local:
                        found.setdefault(definition.name, (unit, definition))
        return found

    @cached_property
    def functions(self) -> tuple[IncludedFunction, ...]:
        """The included functions in an order that depends on nothing but their names."""
        return tuple(sorted(self.changes.functions, key=lambda f: (f.unit.source, f.name)))

    @cached_property
    def link(self) -> RunningObject:
        return RunningObject(self.pair.new_link.path)

    @cached_property
    def dynamic_functions(self) -> frozenset[str]:
        symbols = self.link.elf.dynamic_symbols
        return frozenset(s.name for s in symbols if s.type in FUNCTION_TYPES)

    def import_version(self, name: str, *, weak: bool) -> tuple[str, bool]:
        """Version and weakness of a symbol that the new build imports from another object."""
        if name in self.link.imports:
            version, linked_weak = self.link.imports[name]
            return version, weak and linked_weak
        if name in self.link.exports:
            return self.link.version_of_export(name), weak
        if weak or name == "__tls_get_addr":  # the linker relaxes its calls away in executables
            return "", weak
        raise BuildRefusedError(
            "new-static-code",
            f"The new code uses {name}, which the old object neither has nor imports: it comes "
            "from a static library or from a unit that was not rebuilt.",
            "Add the needed code to a source file of the object, or release a new baseline.",
            where=name,
        )
