"""Judges what left one source file and came up in another under the same name.

Units are compared one by one, so such a thing is in no pair: a change of it would go unseen, and
callers that did not change would stay with the old one. Owns finding it. Refuses it unless it
provably says the same in both places.
"""

from __future__ import annotations

from collections.abc import Callable

from naht.build.native.matching import is_read_only
from naht.build.native.meaning import Meaning, Meanings, cold_parts
from naht.build.native.names import cold_parent
from naht.build.native.old_code import OldCode
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Definition, Relocatable
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c


def judge_moved(units: tuple[UnitComparison, ...], old: OldCode, refusals: Refusals) -> None:
    gone = _gone(units, old)
    for home in units:
        for name in sorted(_globals(home.exact.new.view) & gone.keys()):
            former = gone[name]
            if former is not home and not _is_the_same(former, home, name):
                where = home.pair.source
                refusals.add(
                    "moved-between-files",
                    f"{name} moved from {former.pair.source} to {where}, and is not provably the "
                    "same there.",
                    f"Leave {name} in {former.pair.source} and change it there.",
                    where=where,
                )


def _gone(units: tuple[UnitComparison, ...], old: OldCode) -> dict[str, UnitComparison]:
    """Name → the unit whose definition was linked, and which defines it no longer. A static
    counts when its unit still names it: its users now reach the one in another unit."""
    gone: dict[str, UnitComparison] = {}
    for unit in units:
        before, after = unit.exact.old.view, unit.exact.new.view
        wanted = {s.name for s in after.elf.symbols if s.section == c.SHN_UNDEF}
        defined = _definitions(after)
        for name, definition in _definitions(before).items():
            missed = name not in defined and (not definition.is_local or name in wanted)
            if missed and cold_parent(name) is None and old.is_linked(unit, name):
                gone[name] = unit
    return gone


def _definitions(view: Relocatable) -> dict[str, Definition]:
    return {**view.data, **view.functions}


def _globals(view: Relocatable) -> frozenset[str]:
    return frozenset(d.name for d in _definitions(view).values() if not d.is_local)


def _is_the_same(former: UnitComparison, home: UnitComparison, name: str) -> bool:
    before = former.exact.old.view
    if name in before.data and before.data[name].is_local and not _is_constant(before, name):
        return False  # a static variable; the new one would start afresh
    exact = (before, home.exact.new.view)
    neutral = (former.neutral.old.view, home.neutral.new.view)
    return any(_says(old, name, "old") == _says(new, name, "new") for old, new in (exact, neutral))


def _is_constant(view: Relocatable, name: str) -> bool:
    return is_read_only(view, view.data[name])


def _says(view: Relocatable, name: str, side: str) -> Meaning:
    meanings = Meanings(view, _identity(name, side))
    if name in view.functions:
        return ("function", meanings.function(name, cold_parts(view).get(name, ())))
    if name in view.data:
        datum = view.data[name]
        return ("datum", _is_constant(view, name), datum.size, meanings.datum(name))
    return ("missing", side)


def _identity(name: str, side: str) -> Callable[[str], str]:
    """What is local to one unit is never the same as what is local to another."""

    def identity(symbol: str) -> str:
        return symbol if name in (symbol, cold_parent(symbol)) else f"\0{side} {symbol}"

    return identity
