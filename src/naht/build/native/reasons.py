"""Says in a few words why a function is in the hotpatch."""

from __future__ import annotations

from naht.build.native.names import stem
from naht.build.native.unit import FunctionPair, UnitComparison


def reason_for(unit: UnitComparison, pair: FunctionPair, constants: dict[str, str]) -> str:
    if pair.new not in unit.different_functions:
        return f"uses changed constant {constants[pair.new]}"
    old = unit.exact.old.debug.inlined.get(stem(pair.old), frozenset())
    new = unit.exact.new.debug.inlined.get(stem(pair.new), frozenset())
    different = {stem(name) for name in unit.different_functions}
    if names := sorted((new - old) | (new & different)):
        return f"inlines {', '.join(names[:4])}"
    return "code changed"
