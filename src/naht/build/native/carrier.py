"""Finds a function to come along with hooks when nothing else changed: a hotpatch is known in a
process by the functions that it replaces, so it must replace one.

Prefers a function that uses what the hooks use. Refuses nothing itself; without one the change
stays empty of changed functions, which the judge refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

from naht.build.native.code_checks import leaves
from naht.build.native.code_rules import RUN_ONCE, judge_code
from naht.build.native.hooks import all_hooks
from naht.build.native.meaning import symbols_in
from naht.build.native.old_code import OldCode
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import JudgeOptions, Refusals
from naht.build.native.unit import FunctionPair, UnitComparison

REASON = "carries the hooks; its code is as it was"
MAX_TRIES = 64


def include_carrier(included: Inclusion, old: OldCode) -> None:
    """Adds one unchanged function when there are hooks and no changed function."""
    if any(function.change == "changed" for function in included.functions.values()):
        return
    for unit in included.units:
        if not all_hooks(unit):
            continue
        for pair in list(_candidates(unit, old))[:MAX_TRIES]:
            if _can_be_replaced(unit, pair, included, old):
                included.add_changed(unit, pair, REASON)
                return


def _candidates(unit: UnitComparison, old: OldCode) -> Iterator[FunctionPair]:
    """Those that use the most of what the hooks use first, then by name."""
    meanings, hooks = unit.exact.new_meanings, all_hooks(unit)
    wanted = {s for hook in hooks for s in symbols_in(meanings.function(hook))}
    shared = {
        pair: len(wanted & set(symbols_in(meanings.function(pair.new, pair.cold))))
        for pair in unit.exact.function_pairs
        if pair.new not in hooks | RUN_ONCE
        and old.is_linked(unit, pair.old)
        and _returns(unit, pair)
    }
    yield from sorted(shared, key=lambda pair: (-shared[pair], pair.new))


def _returns(unit: UnitComparison, pair: FunctionPair) -> bool:
    view = unit.exact.old.view
    parts = [view.functions[name] for name in (pair.old, *pair.old_cold)]
    code = [(part.offset, view.definition_bytes(part)) for part in parts]
    return leaves(code, has_jump_table=False)


def _can_be_replaced(
    unit: UnitComparison, pair: FunctionPair, included: Inclusion, old: OldCode
) -> bool:
    trial = Inclusion(included.units, included.changed_constants)
    trial.add_changed(unit, pair, REASON)
    refusals = Refusals(JudgeOptions())
    judge_code(trial, old, refusals)
    return not refusals.found
