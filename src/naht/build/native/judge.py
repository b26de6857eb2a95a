"""Judges a built pair: which functions must change in live processes, and whether they safely can.

Owns the order of the questions. Refuses the whole build with everything that was found, before
anything is written. It emits nothing.
"""

from __future__ import annotations

from naht.build.compile_pair import BuiltPair
from naht.build.native.carrier import include_carrier
from naht.build.native.changes import ChangeSet
from naht.build.native.code_rules import is_assembly, judge_assembly, judge_code, looping_functions
from naht.build.native.constants import settle_constants
from naht.build.native.data_rules import judge_data
from naht.build.native.held import judge_held
from naht.build.native.hooks import include_hooks
from naht.build.native.import_rules import judge_imports
from naht.build.native.include import dropped_names, include_functions, matched_names
from naht.build.native.lambdas import judge_lambdas
from naht.build.native.layout_rules import judge_layouts
from naht.build.native.link_rules import judge_links
from naht.build.native.linked import LinkedView
from naht.build.native.moved import judge_moved
from naht.build.native.old_code import OldCode
from naht.build.native.ownership import judge_ownership
from naht.build.native.refusals import JudgeOptions, Refusals
from naht.build.native.running import prove_running
from naht.build.native.unit import UnitComparison
from naht.build.native.used import UsedThings

__all__ = ["JudgeOptions", "judge"]


def judge(pair: BuiltPair, options: JudgeOptions) -> ChangeSet:
    refusals = Refusals(options)
    units = _compiled_units(pair, refusals)
    old = OldCode(LinkedView(pair.old_link), pair.unchanged)
    constants = settle_constants(units)
    included = include_functions(units, constants, old, refusals)
    hooks = include_hooks(units, included, refusals)
    include_carrier(included, old)
    dropped = dropped_names(units, included)

    new_link = LinkedView(pair.new_link)
    judge_links(old.link, new_link, refusals)
    judge_imports(included, new_link, refusals)
    judge_layouts(included.touched_units(), refusals)
    judge_moved(units, old, refusals)
    judge_data(units, constants, old, refusals)
    judge_held(included, old, refusals)
    judge_ownership(included, refusals)
    judge_lambdas(included, refusals)
    judge_code(included, old, refusals)
    prove_running(old.link, pair.running, UsedThings(included, old).all(), refusals)
    changed = any(f.change == "changed" for f in included.functions.values())
    if not changed and not refusals.found:
        _refuse_nothing(dropped, refusals)

    allowances = refusals.finish()
    matched = {unit.pair: matched_names(unit, constants) for unit in units}
    return ChangeSet(
        included.in_order(), matched, dropped, allowances, hooks,
        looping=looping_functions(included, old), notes=tuple(refusals.notes),
    )  # fmt: skip


def _compiled_units(pair: BuiltPair, refusals: Refusals) -> tuple[UnitComparison, ...]:
    units = tuple(UnitComparison(unit) for unit in pair.units)
    for unit in units:
        if is_assembly(unit):
            judge_assembly(unit, refusals)
    return tuple(unit for unit in units if not is_assembly(unit))


def _refuse_nothing(dropped: tuple[str, ...], refusals: Refusals) -> None:
    only = f" Only line numbers or paths differ, in {len(dropped)} functions." if dropped else ""
    refusals.add(
        "nothing-changed",
        f"The new tree makes no other code of this object than the old one.{only}",
        "Check that the change is in the new tree, is compiled into this object and is not "
        "configured away.",
    )
