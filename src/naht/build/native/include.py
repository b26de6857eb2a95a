"""Decides which functions go into the hotpatch, and what each local name was called before.

Owns the step from "differs" to "is included": functions that were linked, each old function
once. Refuses functions that can't be told apart in the old object.
"""

from __future__ import annotations

from naht.build.native.hooks import all_hooks
from naht.build.native.matching import is_read_only
from naht.build.native.old_code import OldCode
from naht.build.native.reach import Inclusion
from naht.build.native.reasons import reason_for
from naht.build.native.refusals import Refusals
from naht.build.native.unit import FunctionPair, UnitComparison


def include_functions(
    units: tuple[UnitComparison, ...],
    constants: dict[str, frozenset[str]],
    old: OldCode,
    refusals: Refusals,
) -> Inclusion:
    included = Inclusion(units, constants)
    for unit in units:
        users = unit.functions_using(constants[unit.pair.source])
        different = unit.different_functions | users.keys()
        for pair in _one_per_old_function(unit, different, refusals):
            if old.is_linked(unit, pair.old):
                included.add_changed(unit, pair, reason_for(unit, pair, users))
    return included


def _one_per_old_function(
    unit: UnitComparison, different: frozenset[str], refusals: Refusals
) -> list[FunctionPair]:
    """Aliases share their code: a jump at its entry changes all of them."""
    hooks = all_hooks(unit)
    groups: dict[tuple[int, int], list[FunctionPair]] = {}
    for pair in unit.exact.function_pairs:
        function = unit.exact.old.view.functions[pair.old]
        if pair.new not in hooks:
            groups.setdefault((function.section, function.offset), []).append(pair)
    chosen = []
    for pairs in groups.values():
        changed = [pair for pair in pairs if pair.new in different]
        if changed and len({_place(unit, pair) for pair in pairs}) > 1:
            _refuse_shared(unit, pairs, refusals)
        elif changed:
            chosen.append(min(changed, key=lambda p: _is_alias(unit, p)))
    return chosen


def _place(unit: UnitComparison, pair: FunctionPair) -> tuple[int, int]:
    function = unit.exact.new.view.functions[pair.new]
    return function.section, function.offset


def _is_alias(unit: UnitComparison, pair: FunctionPair) -> tuple[bool, str]:
    """The name by which references to the place are read comes first."""
    view = unit.exact.new.view
    function = view.functions[pair.new]
    main = view.covering(function.section, function.offset)
    return main is None or main.name != pair.new, pair.new


def _refuse_shared(unit: UnitComparison, pairs: list[FunctionPair], refusals: Refusals) -> None:
    names = ", ".join(sorted(pair.old for pair in pairs))
    refusals.add(
        "shared-code",
        f"{names} in {unit.pair.source} share their old code, and only some of them changed.",
        "Change all of them alike, or change their callers instead.",
        where=unit.pair.source,
    )


def matched_names(unit: UnitComparison, constants: dict[str, frozenset[str]]) -> dict[str, str]:
    """New local symbol → old one, without constants that changed: those are new."""
    changed, view = constants[unit.pair.source], unit.exact.new.view
    return {
        new: old
        for new, old in sorted(unit.exact.matching.old_of.items())
        if not (new in view.data and is_read_only(view, view.data[new]) and old in changed)
    }


def dropped_names(units: tuple[UnitComparison, ...], included: Inclusion) -> tuple[str, ...]:
    """What differs by lines, times or paths alone, and so is left out."""
    names = {
        name
        for unit in units
        for name in unit.dropped
        if (unit.pair.source, name) not in included.functions
    }
    return tuple(sorted(names))
