"""Who in an object uses a type: functions that have it in hand, and variables that are of it.

For messages only: what optimising compilers left out of the debug information is missing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from naht.build.native.debug_info import DebugInfo, Entry, enclosing, follow, origin, text
from naht.build.native.layouts import (
    MAX_DEPTH,
    POINTERS,
    TRANSPARENT,
    qualified_name_of_enumeration,
    qualified_name_of_record,
)

SHOWN = 6
_HOLDERS = frozenset({"DW_TAG_variable", "DW_TAG_formal_parameter"})


@dataclass
class TypeUsers:
    functions: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        """Sentences, each with a blank before it."""
        said = ""
        if self.functions:
            said += f" Used by {_listed(self.functions)}."
        if self.variables:
            said += f" Held by the variable {_listed(self.variables)}."
        return said


def users_of(names: Iterable[str], sides: Iterable[DebugInfo]) -> dict[str, TypeUsers]:
    """Name of a record or enumeration, as `layouts` gives it → its users."""
    found = {name: TypeUsers() for name in names}
    for debug in sides:
        for entry in debug.entries:
            if entry.tag in _HOLDERS:
                _note(debug, entry, found)
    return found


def _note(debug: DebugInfo, entry: Entry, found: dict[str, TypeUsers]) -> None:
    users = found.get(_type_name(follow(origin(entry), "DW_AT_type")))
    if users is None:
        return
    function = enclosing(entry, "DW_TAG_subprogram")
    if debug.is_static(entry):
        users.variables.add(text(origin(entry), "DW_AT_name"))
    elif function is not None and (name := text(origin(function), "DW_AT_name")):
        users.functions.add(name)


def _type_name(entry: Entry | None) -> str:
    """The record or enumeration that a type is, points to, or is an array of."""
    for _ in range(MAX_DEPTH):
        if entry is None:
            break
        if name := qualified_name_of_record(entry) or qualified_name_of_enumeration(entry):
            return name
        if entry.tag not in POINTERS | TRANSPARENT | {"DW_TAG_array_type"}:
            break
        entry = follow(entry, "DW_AT_type")
    return ""


def _listed(names: set[str]) -> str:
    shown, more = sorted(names)[:SHOWN], len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
