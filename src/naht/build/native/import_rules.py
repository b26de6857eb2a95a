"""Judges what new code calls in other objects: their live code takes the old arguments.

Owns one question. A fix may change a function of one library together with its caller in another
one (libevent, CVE-2026-63388); a hotpatch is for one object, so its new code would call the old
function of the other. Refuses imports whose prototype changed with their callers. It can't see that
the other function behaves otherwise under the same prototype.
"""

from __future__ import annotations

from collections.abc import Iterator

from naht.build.native.changes import IncludedFunction
from naht.build.native.layouts import declarations
from naht.build.native.linked import LinkedView
from naht.build.native.prototypes import accepts_old_callers
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Named
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c


def judge_imports(included: Inclusion, new_link: LinkedView, refusals: Refusals) -> None:
    imported = frozenset(
        symbol.name for symbol in new_link.elf.dynamic_symbols if symbol.section == c.SHN_UNDEF
    )
    for unit in included.touched_units():
        functions = [f for f in included.in_order() if f.unit is unit.pair]
        called = {name: f for f in functions for name in _named_in(unit, f) if name in imported}
        for name in sorted(called.keys() & _changed_prototypes(unit)):
            _refuse(name, called[name], refusals)


def _named_in(unit: UnitComparison, function: IncludedFunction) -> Iterator[str]:
    view = unit.exact.new.view
    for part in (function.name, *function.cold):
        for reference in view.references_of(view.functions[part]):
            if isinstance(reference.target, Named):
                yield reference.target.symbol.name


def _changed_prototypes(unit: UnitComparison) -> set[str]:
    """In either direction: one more argument does the old function no harm, and is not heeded."""
    olds, news = declarations(unit.exact.old.debug), declarations(unit.exact.new.debug)
    return {
        name
        for name in olds.keys() & news.keys()
        if not accepts_old_callers(news[name], olds[name])
        or not accepts_old_callers(olds[name], news[name])
    }


def _refuse(name: str, caller: IncludedFunction, refusals: Refusals) -> None:
    where = caller.unit.source
    refusals.add(
        "import-changed",
        f"The prototype of {name}, which {caller.name} in {where} calls in another object, "
        "changed; the live code of that object is the old one.",
        f"Keep {name} as it was, and let a new function of another name do what is new; or take "
        "the change with an upgrade and a restart.",
        where=where,
    )
