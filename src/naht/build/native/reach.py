"""Which functions go into the hotpatch: the changed ones, and the new ones that they need.

Owns following references from included code through tables and new data to new functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from naht.build.native.changes import IncludedFunction
from naht.build.native.meaning import Meaning, cold_parts, symbols_in
from naht.build.native.names import cold_parent
from naht.build.native.unit import FunctionPair, UnitComparison
from naht.elf import constants as c

NEW = "\0new "


@dataclass
class Inclusion:
    """Grows by `add`; every function is included once."""

    units: tuple[UnitComparison, ...]
    changed_constants: dict[str, frozenset[str]]  # by source of the unit
    functions: dict[tuple[str, str], IncludedFunction] = field(default_factory=dict)
    _visited_data: set[tuple[str, str]] = field(default_factory=set)

    def in_order(self) -> tuple[IncludedFunction, ...]:
        return tuple(self.functions[key] for key in sorted(self.functions))

    def touched_units(self) -> tuple[UnitComparison, ...]:
        sources = {source for source, _ in self.functions}
        return tuple(unit for unit in self.units if unit.pair.source in sources)

    def add_changed(self, unit: UnitComparison, pair: FunctionPair, reason: str) -> None:
        function = IncludedFunction(
            unit.pair, pair.new, "changed", pair.old, pair.cold, pair.old_cold, reason
        )
        self._add(unit, function)

    def add_new(self, unit: UnitComparison, name: str) -> None:
        cold = cold_parts(unit.exact.new.view).get(name, ())
        self._add(unit, IncludedFunction(unit.pair, name, "new", cold=cold, reason="new"))

    def _add(self, unit: UnitComparison, function: IncludedFunction) -> None:
        key = (unit.pair.source, function.name)
        if key not in self.functions:
            self.functions[key] = function
            self._follow(unit, unit.exact.new_meanings.function(function.name, function.cold))

    def _follow(self, unit: UnitComparison, meaning: Meaning) -> None:
        for identity in sorted(set(symbols_in(meaning))):
            if identity.startswith(NEW):
                self._follow_local(unit, identity.removeprefix(NEW))
            else:
                self._follow_known(unit, identity)

    def _follow_local(self, unit: UnitComparison, name: str) -> None:
        if name in unit.exact.new.view.functions:
            if cold_parent(name) not in unit.exact.new.view.functions:
                self.add_new(unit, name)
        elif name in unit.exact.new.view.data:
            self._follow_datum(unit, name)

    def _follow_known(self, unit: UnitComparison, identity: str) -> None:
        """A global, or an old local: only what is new or changed leads further."""
        if identity in self.changed_constants[unit.pair.source]:
            for owner, name in self._constants(unit, identity):
                self._follow_datum(owner, name)
            return
        if identity in unit.exact.matching.old_of.values():
            return
        for owner in (unit, *self.units):
            exact = owner.exact
            if (defined := exact.new.view.functions.get(identity)) and not defined.is_local:
                if not exact.old_function_of(defined):
                    self.add_new(owner, identity)
                return
            if (datum := exact.new.view.data.get(identity)) and not datum.is_local:
                if not exact.old_datum_of(datum):
                    self._follow_datum(owner, identity)
                return

    def _constants(
        self, user: UnitComparison, identity: str
    ) -> Iterator[tuple[UnitComparison, str]]:
        for unit in self.units:
            for old, new in unit.constant_pairs:
                is_local = unit.exact.old.view.data[old].is_local
                if old == identity and (unit is user or not is_local):
                    yield unit, new

    def _follow_datum(self, unit: UnitComparison, name: str) -> None:
        key = (unit.pair.source, name)
        if key in self._visited_data:
            return
        self._visited_data.add(key)
        if unit.exact.new.view.data[name].section != c.SHN_COMMON:
            self._follow(unit, unit.exact.new_meanings.datum(name))
