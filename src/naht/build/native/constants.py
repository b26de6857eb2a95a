"""Which named constants changed, through all units and through constants that point to others.

Owns that closure. A changed constant makes all that refers to it changed, code and data.
"""

from __future__ import annotations

from naht.build.native.unit import UnitComparison


def settle_constants(units: tuple[UnitComparison, ...]) -> dict[str, frozenset[str]]:
    """Source of a unit → identities of the changed constants that its code can name."""
    changed = {unit.pair.source: unit.different_constants for unit in units}
    grew = True
    while grew:
        shared = shared_constants(units, changed)
        grew = False
        for unit in units:
            known = changed[unit.pair.source]
            more = unit.constants_using(known | shared) - known
            changed[unit.pair.source] = known | more
            grew = grew or bool(more)
    shared = shared_constants(units, changed)
    return {source: own | shared for source, own in changed.items()}


def shared_constants(
    units: tuple[UnitComparison, ...], changed: dict[str, frozenset[str]]
) -> frozenset[str]:
    """The global ones among the changed constants."""
    return frozenset(
        name
        for unit in units
        for name in changed[unit.pair.source]
        if name in unit.exact.old.view.data and not unit.exact.old.view.data[name].is_local
    )
