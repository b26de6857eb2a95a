"""Says in a few words why a function is in the hotpatch."""

from __future__ import annotations

from naht.build.native.debug_info import DebugInfo, function_name
from naht.build.native.names import stem
from naht.build.native.unit import FunctionPair, UnitComparison


def reason_for(unit: UnitComparison, pair: FunctionPair, constants: dict[str, str]) -> str:
    if pair.new not in unit.different_functions:
        return f"uses changed constant {constants[pair.new]}"
    old = inlined(unit.exact.old.debug).get(stem(pair.old), frozenset())
    new = inlined(unit.exact.new.debug).get(stem(pair.new), frozenset())
    different = {stem(name) for name in unit.different_functions}
    if names := sorted((new - old) | (new & different)):
        return f"inlines {', '.join(names[:4])}"
    return "code changed"


def inlined(debug: DebugInfo) -> dict[str, frozenset[str]]:
    """Function → the functions that were inlined into it, at any depth."""
    found: dict[str, set[str]] = {}
    for entry in debug.entries:
        if entry.tag == "DW_TAG_inlined_subroutine":
            holder = entry.get_parent()
            while holder is not None and holder.tag != "DW_TAG_subprogram":
                holder = holder.get_parent()
            if holder is not None:
                found.setdefault(function_name(holder), set()).add(function_name(entry))
    return {name: frozenset(names) for name, names in found.items()}
