"""Who in the old code may keep an address: one unit's functions, constant tables and variables.

Owns the indexes by which they are found; `address_flow` follows a single function. Decides nothing
about what changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from naht.build.native.address_flow import AddressFlow, Found, Sources
from naht.build.native.code_checks import leaves
from naht.build.native.layouts import return_sizes
from naht.build.native.matching import is_read_only
from naht.build.native.names import cold_parent, is_vtable_or_typeinfo, stem
from naht.build.native.old_code import OldCode
from naht.build.native.reach import Inclusion
from naht.build.native.relocatable import Definition, Named, Place, Relocatable
from naht.build.native.unit import UnitComparison, whole_functions
from naht.elf import constants as c

_NO_DATA = (".eh_frame", ".gcc_except_table", ".init_array", ".fini_array", ".note")


class OldProgram:
    """The old code of the whole object."""

    def __init__(self, included: Inclusion, old: OldCode) -> None:
        self.included, self.old = included, old

    def find(self, name: str) -> Found | None:
        """A global function, wherever the old object has it."""
        return self._definers.get(name)

    @cached_property
    def _definers(self) -> dict[str, Found]:
        views = [unit.exact.old.view for unit in self.included.units]
        views += [self.old.view(path) for path in self.old.unchanged]
        found: dict[str, Found] = {}
        for view in views:
            for name, function in view.functions.items():
                if not function.is_local:
                    found.setdefault(name, (view, function))
        return found

    @cached_property
    def new_globals(self) -> frozenset[str]:
        return frozenset(
            name
            for unit in self.included.units
            for name, function in unit.exact.new.view.functions.items()
            if not function.is_local
        )

    @cached_property
    def handed_out(self) -> frozenset[str]:
        """Names of functions whose address any of the units takes."""
        return frozenset().union(*(unit.handed_out for unit in self.included.units))

    def is_called_elsewhere(self, unit: UnitComparison, function: Definition) -> bool:
        """By other units, other objects, or through pointers."""
        name = function.name
        if name in unit.handed_out:
            return True
        if function.is_local:
            return False
        others = (other.exact.old.view for other in self.included.units if other is not unit)
        return (
            name in self.old.link.exported_names
            or any(_is_undefined(view, name) for view in others)
            or any(self.old.mentions(path, name) for path in self.old.unchanged)
        )

    def is_replaced(self, unit: UnitComparison, name: str) -> bool:
        return any(
            function.unit is unit.pair and function.old_name == name
            for function in self.included.functions.values()
        )


class Holders:
    """One unit's old code."""

    def __init__(self, unit: UnitComparison, program: OldProgram) -> None:
        self.unit, self.program = unit, program
        self.view: Relocatable = unit.exact.old.view

    def of(self, name: str) -> str:
        """Who may hold the address of `name`, in words; "" when nobody does."""
        names = self._reached_through_constants(name)
        if variable := self._variable_holding(names):
            return f"the variable {variable} holds it"
        return next(filter(None, map(self._follow, self._sources(names))), "")

    def _sources(self, names: frozenset[str]) -> Iterator[Sources]:
        """What points to others of the names is followed apart, as loads from there give
        addresses."""
        pointing = {n for n in names if self._pointed_to.get(n, frozenset()) & names}
        unnamed = frozenset(s for n in names for s in self._unnamed_pointing_to.get(n, ()))
        if names - pointing:
            yield Sources(names - pointing)
        if pointing or unnamed:
            yield Sources(frozenset(pointing), unnamed, loads=True)

    def _follow(self, sources: Sources) -> str:
        waiting = self._takers_of(sources)
        while waiting:
            function = waiting.pop()
            flow = AddressFlow(self.view, sources, self.program.find, self._may_return)
            found = flow.of(function.name)
            if found.held:
                return found.held
            if self._stays_in(function, sources.returners):
                return f"{function.name} never returns, and may keep it"
            if found.returned and function.name not in sources.returners:
                if self.program.is_called_elsewhere(self.unit, function):
                    return f"{function.name} returns it to whoever calls it"
                sources = replace(sources, returners=sources.returners | {function.name})
                waiting += self._users.get(function.name, ())
        return ""

    def _stays_in(self, function: Definition, returners: frozenset[str]) -> bool:
        """A caller that is not replaced finishes with the old address, if it ever does."""
        replaced = self.program.is_replaced(self.unit, function.name)
        return bool(returners) and not replaced and not self._returns(function)

    def _returns(self, function: Definition) -> bool:
        parts = self._parts[function.name]
        code = [(part.offset, self.view.definition_bytes(part)) for part in parts]
        return leaves(code, has_jump_table=False)

    def _may_return(self, name: str) -> bool:
        """A result that is too small for an address is none."""
        size = self._return_sizes.get(stem(name))
        return size is None or size >= 8

    @cached_property
    def _return_sizes(self) -> dict[str, int | None]:
        return return_sizes(self.unit.exact.old.debug)

    # --- functions -----------------------------------------------------------------------

    def _takers_of(self, sources: Sources) -> list[Definition]:
        keys: list[str | int] = [*sources.names, *sources.unnamed]
        found = {f.name: f for key in keys for f in self._takers.get(key, ())}
        return [found[name] for name in sorted(found)]

    @cached_property
    def _takers(self) -> dict[str | int, list[Definition]]:
        """Symbol, or section of unnamed data → functions that refer to it otherwise than by a
        call."""
        return self._referring(branches=False)

    @cached_property
    def _users(self) -> dict[str | int, list[Definition]]:
        return self._referring(branches=True)

    def _referring(self, *, branches: bool) -> dict[str | int, list[Definition]]:
        found: dict[str | int, dict[str, Definition]] = {}
        for function in self._functions:
            for part in self._parts[function.name]:
                for reference in self.view.references_of(part):
                    key = _key(reference.target)
                    if key is not None and (branches or reference.use != "branch"):
                        found.setdefault(key, {})[function.name] = function
        return {key: list(functions.values()) for key, functions in found.items()}

    @cached_property
    def _functions(self) -> list[Definition]:
        functions = whole_functions(self.view)
        return [f for f in functions if self.program.old.is_linked(self.unit, f.name)]

    @cached_property
    def _parts(self) -> dict[str, list[Definition]]:
        """Function → itself and what was split off from it."""
        found: dict[str, list[Definition]] = {}
        for definition in self.view.functions.values():
            parent = cold_parent(definition.name)
            owner = parent if parent in self.view.functions else definition.name
            found.setdefault(owner, []).append(definition)
        return found

    # --- data ----------------------------------------------------------------------------

    def _reached_through_constants(self, name: str) -> frozenset[str]:
        """The name, and constant tables that lead to it."""
        names, waiting = {name}, [name]
        while waiting:
            for holder in self._pointing_to.get(waiting.pop(), ()):
                if holder.name not in names and self._is_table(holder):
                    names.add(holder.name)
                    waiting.append(holder.name)
        return frozenset(names)

    def _is_table(self, datum: Definition) -> bool:
        return is_read_only(self.view, datum) and not is_vtable_or_typeinfo(datum.name)

    def _variable_holding(self, names: frozenset[str]) -> str:
        """A variable of the old source only, or one without a name: those that both sources have
        are judged by their values."""
        for name in sorted(names):
            for datum in self._pointing_to.get(name, ()):
                if not is_read_only(self.view, datum) and datum.name not in self._kept:
                    return datum.name
            for section in self._unnamed_pointing_to.get(name, ()):
                if not self.view.is_read_only(section):
                    return f"without a name in {self.view.section(section).name}"
        return ""

    @cached_property
    def _kept(self) -> frozenset[str]:
        exact = self.unit.exact
        return frozenset(exact.old_datum_of(d) for d in exact.new.view.data.values())

    @cached_property
    def _pointing_to(self) -> dict[str, list[Definition]]:
        """Symbol → the data that hold its address."""
        found: dict[str, list[Definition]] = {}
        for datum in self.view.data.values():
            for reference in self.view.references_of(datum):
                if isinstance(reference.target, Named):
                    found.setdefault(reference.target.symbol.name, []).append(datum)
        return found

    @cached_property
    def _pointed_to(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for name, data in self._pointing_to.items():
            for datum in data:
                found.setdefault(datum.name, set()).add(name)
        return {name: frozenset(names) for name, names in found.items()}

    @cached_property
    def _unnamed_pointing_to(self) -> dict[str, set[int]]:
        """Symbol → sections with data of no name that hold its address."""
        found: dict[str, set[int]] = {}
        for section in self.view.elf.sections:
            no_data = section.name.startswith(_NO_DATA) or self.view.is_code(section.index)
            if no_data or not section.flags & c.SHF_ALLOC:
                continue
            for reference in self.view.references(section.index):
                target = reference.target
                named = self.view.covering(section.index, reference.field)
                if isinstance(target, Named) and named is None:
                    found.setdefault(target.symbol.name, set()).add(section.index)
        return found


def _key(target: object) -> str | int | None:
    if isinstance(target, Named):
        return target.symbol.name
    return target.section if isinstance(target, Place) else None


def _is_undefined(view: Relocatable, name: str) -> bool:
    return any(s.name == name and s.section == c.SHN_UNDEF for s in view.elf.symbols)
