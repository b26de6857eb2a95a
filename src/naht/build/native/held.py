"""Judges addresses that live memory may hold: of changed constants, and of functions that are gone
or are called otherwise now. What holds one goes on with the old thing, whatever the new code does.

Owns the question who may hold which; `address_flow` follows one function. Refuses what is held, or
can't be proved not to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from naht.build.native.address_flow import (
    AddressFlow,
    Found,
    Sources,
    takes_address,
)
from naht.build.native.code_checks import leaves
from naht.build.native.layouts import return_sizes, signatures
from naht.build.native.matching import is_read_only
from naht.build.native.names import cold_parent, is_vtable_or_typeinfo, stem
from naht.build.native.old_code import OldCode
from naht.build.native.prototypes import accepts_old_callers
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.relocatable import Definition, Named, Relocatable
from naht.build.native.unit import UnitComparison, whole_functions
from naht.elf import constants as c

# Names of functions as text: who still shows the old one misleads nobody
DIAGNOSTIC = frozenset({"__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"})


def judge_held(included: Inclusion, old: OldCode, refusals: Refusals) -> None:
    program = _Program(included, old)
    changed = {unit.pair.source: _changed_functions(unit, program) for unit in included.units}
    everywhere = {
        name: what
        for unit in included.units
        for name, what in changed[unit.pair.source].items()
        if not unit.exact.old.view.functions[name].is_local
    }
    for unit in included.units:
        holders = _Holders(unit, program)
        for name in sorted(_changed_constants(unit, program)):
            if why := holders.of(name):
                _refuse_constant(unit, name, why, refusals)
        for name, what in sorted((everywhere | changed[unit.pair.source]).items()):
            if name in unit.handed_out and (why := holders.of(name)):
                _refuse_function(unit, name, what, why, refusals)


def _changed_constants(unit: UnitComparison, program: _Program) -> set[str]:
    """Those that this unit can name and that nobody outside the rebuilt units reads."""
    changed = program.included.changed_constants[unit.pair.source]
    data = unit.exact.old.view.data
    return {
        name for name in changed
        if stem(name) not in DIAGNOSTIC and not is_vtable_or_typeinfo(name)
        and (name not in data or program.old.is_linked(unit, name))
    }  # fmt: skip


def _changed_functions(unit: UnitComparison, program: _Program) -> dict[str, str]:
    """Old function → what became of it, in words."""
    changed = dict.fromkeys(program.gone(unit), "is gone from the new source")
    olds, news = signatures(unit.exact.old.debug), signatures(unit.exact.new.debug)
    for pair in unit.exact.function_pairs if not unit.exact.identical else ():
        old, new = olds.get(stem(pair.old)), news.get(stem(pair.new))
        if old and new and not accepts_old_callers(old, new) and program.old.is_linked(
            unit, pair.old
        ):  # fmt: skip
            changed[pair.old] = "has another prototype"
    return changed


class _Program:
    """The old code of the whole object."""

    def __init__(self, included: Inclusion, old: OldCode) -> None:
        self.included, self.old = included, old

    def gone(self, unit: UnitComparison) -> Iterator[str]:
        """Linked functions that no new unit has any more."""
        if unit.exact.identical:
            return
        kept = {pair.old for pair in unit.exact.function_pairs}
        for function in whole_functions(unit.exact.old.view):
            moved = not function.is_local and function.name in self._new_globals
            if function.name not in kept and not moved and self.old.is_linked(unit, function.name):
                yield function.name

    @cached_property
    def _new_globals(self) -> frozenset[str]:
        return frozenset(
            name
            for unit in self.included.units
            for name, function in unit.exact.new.view.functions.items()
            if not function.is_local
        )

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
            or any(name in _undefined(view) for view in others)
            or any(self.old.mentions(path, name) for path in self.old.unchanged)
        )

    def is_replaced(self, unit: UnitComparison, name: str) -> bool:
        return any(
            function.unit is unit.pair and function.old_name == name
            for function in self.included.functions.values()
        )


@dataclass
class _Holders:
    """One unit's old code: who in it may keep an address."""

    unit: UnitComparison
    program: _Program

    @property
    def view(self) -> Relocatable:
        return self.unit.exact.old.view

    def of(self, name: str) -> str:
        """Who may hold the address of `name`, in words; "" when nobody does."""
        names = self._reached_through_constants(name)
        if variable := self._variable_holding(names):
            return f"the variable {variable} holds it"
        return next(filter(None, map(self._follow, _sources(self.view, names))), "")

    def _follow(self, sources: Sources) -> str:
        waiting = [f for f in self._linked_functions if takes_address(self.view, f, sources)]
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
                waiting += self._callers(function.name)
        return ""

    def _stays_in(self, function: Definition, returners: frozenset[str]) -> bool:
        """A caller that is not replaced finishes with the old address, if it ever does."""
        replaced = self.program.is_replaced(self.unit, function.name)
        return bool(returners) and not replaced and not _returns(self.view, function)

    def _may_return(self, name: str) -> bool:
        """A result that is too small for an address is none."""
        size = self._return_sizes.get(stem(name))
        return size is None or size >= 8

    @cached_property
    def _return_sizes(self) -> dict[str, int | None]:
        return return_sizes(self.unit.exact.old.debug)

    @cached_property
    def _linked_functions(self) -> list[Definition]:
        functions = whole_functions(self.view)
        return [f for f in functions if self.program.old.is_linked(self.unit, f.name)]

    def _callers(self, name: str) -> list[Definition]:
        return [
            function
            for function in self._linked_functions
            if any(
                isinstance(r.target, Named) and r.target.symbol.name == name
                for part in _parts(self.view, function)
                for r in self.view.references_of(part)
            )
        ]

    def _reached_through_constants(self, name: str) -> frozenset[str]:
        """The name, and constant tables that lead to it."""
        names, grew = {name}, True
        while grew:
            grew = False
            for datum in self._constants:
                if datum.name not in names and _points_to(self.view, datum, names):
                    names.add(datum.name)
                    grew = True
        return frozenset(names)

    @cached_property
    def _constants(self) -> list[Definition]:
        return [
            datum
            for datum in self.view.data.values()
            if is_read_only(self.view, datum) and not is_vtable_or_typeinfo(datum.name)
        ]

    def _variable_holding(self, names: frozenset[str]) -> str:
        """A variable of the old source only: those that both have are judged by their value."""
        kept = {self.unit.exact.old_datum_of(d) for d in self.unit.exact.new.view.data.values()}
        for datum in self.view.data.values():
            writable = datum.section != c.SHN_COMMON and not is_read_only(self.view, datum)
            if writable and datum.name not in kept and _points_to(self.view, datum, names):
                return datum.name
        return ""


def _points_to(view: Relocatable, datum: Definition, names: set[str] | frozenset[str]) -> bool:
    return any(
        isinstance(r.target, Named) and r.target.symbol.name in names
        for r in view.references_of(datum)
    )


def _sources(view: Relocatable, names: frozenset[str]) -> Iterator[Sources]:
    """What points to others of the names is followed apart, as loads from there give addresses."""
    pointing = {n for n in names if n in view.data and _points_to(view, view.data[n], names)}
    unnamed = frozenset(
        section.index
        for section in view.elf.sections
        if section.flags & c.SHF_ALLOC and not view.is_code(section.index)
        if any(
            isinstance(r.target, Named) and r.target.symbol.name in names
            for r in view.references(section.index)
        )
    )
    if names - pointing:
        yield Sources(names - pointing)
    if pointing or unnamed:
        yield Sources(frozenset(pointing), unnamed, loads=True)


def _parts(view: Relocatable, function: Definition) -> list[Definition]:
    return [
        d for d in view.functions.values()
        if d.name == function.name or cold_parent(d.name) == function.name
    ]  # fmt: skip


def _returns(view: Relocatable, function: Definition) -> bool:
    parts = [(part.offset, view.definition_bytes(part)) for part in _parts(view, function)]
    return leaves(parts, has_jump_table=False)


def _undefined(view: Relocatable) -> frozenset[str]:
    return frozenset(s.name for s in view.elf.symbols if s.section == c.SHN_UNDEF)


def _refuse_constant(unit: UnitComparison, name: str, why: str, refusals: Refusals) -> None:
    where = unit.pair.source
    _refuse(
        "constant-held", name, where, refusals,
        f"The constant {name} in {where} changed, but live memory may point to the old one: {why}.",
    )  # fmt: skip


def _refuse_function(
    unit: UnitComparison, name: str, change: str, why: str, refusals: Refusals
) -> None:
    where = unit.pair.source
    _refuse(
        "function-held", name, where, refusals,
        f"{stem(name)} in {where} {change}, but live memory may point to it: {why}.",
    )  # fmt: skip


def _refuse(reason: str, name: str, where: str, refusals: Refusals, cause: str) -> None:
    subject = stem(name)
    step = (
        f"Set the live pointers anew in a post-apply hook (NAHT_POST_APPLY) and give --allow-data "
        f"{subject}; --allow-data {subject} alone when the old {subject} does no harm."
        if reason == "constant-held"
        else f"Keep {subject} as it was and let it call the new code; --allow-data {subject} when "
        "live pointers to the old one do no harm."
    )
    refusals.unless_allowed("--allow-data", subject, Refusal(reason, cause, step, where))
