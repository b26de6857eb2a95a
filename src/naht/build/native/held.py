"""Judges addresses that live memory may hold: of changed constants, and of functions that are gone
or are called otherwise now. What holds one goes on with the old thing, whatever the new code does.

Owns the question who may hold which; `address_flow` follows one function. Refuses what is held, or
can't be proved not to be.
"""

from __future__ import annotations

from collections.abc import Iterator

from naht.build.native.holders import Holders, OldProgram
from naht.build.native.layouts import signatures
from naht.build.native.names import is_vtable_or_typeinfo, stem
from naht.build.native.old_code import OldCode
from naht.build.native.prototypes import accepts_old_callers
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.unit import FunctionPair, UnitComparison, whole_functions

# Names of functions as text: who still shows the old one misleads nobody
DIAGNOSTIC = frozenset({"__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"})


def judge_held(included: Inclusion, old: OldCode, refusals: Refusals) -> None:
    program = OldProgram(included, old)
    changed = {unit.pair.source: _changed_functions(unit, program) for unit in included.units}
    everywhere = {
        name: what
        for unit in included.units
        for name, what in changed[unit.pair.source].items()
        if not unit.exact.old.view.functions[name].is_local
    }
    for unit in included.units:
        holders = Holders(unit, program)
        for name in sorted(_changed_constants(unit, program)):
            if why := holders.of(name):
                _refuse_constant(unit, name, why, refusals)
        for name, what in sorted((everywhere | changed[unit.pair.source]).items()):
            if name in unit.handed_out and (why := holders.of(name)):
                _refuse_function(unit, name, what, why, refusals)


def _changed_constants(unit: UnitComparison, program: OldProgram) -> set[str]:
    """Those that this unit can name. What others read is refused as exported."""
    changed = program.included.changed_constants[unit.pair.source]
    data = unit.exact.old.view.data
    return {
        name for name in changed
        if stem(name) not in DIAGNOSTIC and not is_vtable_or_typeinfo(name)
        and (name not in data or program.old.is_linked(unit, name))
    }  # fmt: skip


def _changed_functions(unit: UnitComparison, program: OldProgram) -> dict[str, str]:
    """Old function whose address somebody takes → what became of it, in words."""
    changed = dict.fromkeys(_gone(unit, program), "is gone from the new source")
    if candidates := list(_same_name_other_code(unit, program)):
        olds, news = signatures(unit.exact.old.debug), signatures(unit.exact.new.debug)
        for pair in candidates:
            old, new = olds.get(stem(pair.old)), news.get(stem(pair.new))
            if old and new and not accepts_old_callers(old, new):
                changed[pair.old] = "has another prototype"
    return changed


def _gone(unit: UnitComparison, program: OldProgram) -> Iterator[str]:
    """Linked functions that no new unit has any more."""
    if unit.exact.identical:
        return
    kept = {pair.old for pair in unit.exact.function_pairs}
    for function in whole_functions(unit.exact.old.view):
        name = function.name
        moved = not function.is_local and name in program.new_globals
        taken = name in program.handed_out
        if taken and name not in kept and not moved and program.old.is_linked(unit, name):
            yield name


def _same_name_other_code(unit: UnitComparison, program: OldProgram) -> Iterator[FunctionPair]:
    """Another prototype shows in the code, or makes no difference to it."""
    for pair in unit.exact.function_pairs if not unit.exact.identical else ():
        differs = pair.new in unit.different_functions
        if differs and pair.old in program.handed_out and program.old.is_linked(unit, pair.old):
            yield pair


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
