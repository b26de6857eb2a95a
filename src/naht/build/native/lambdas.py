"""Judges changed lambdas and unnamed types: compilers name them by their number in a function
(Itanium C++ ABI 5.1.8; Clang also `$_0`), so one that is put before others takes over the name of
the next, and with it the live objects that will call it. Refuses that.
"""

from __future__ import annotations

import re

from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Relocatable

_NUMBER = re.compile(r"(Ul.*?E|Ut)\d*_|(\d\$_)\d+")


def judge_lambdas(included: Inclusion, refusals: Refusals) -> None:
    for unit in included.touched_units():
        old, new = _by_place(unit.exact.old.view), _by_place(unit.exact.new.view)
        for function in included.in_order():
            place = _place(function.name)
            is_changed = function.unit is unit.pair and function.change == "changed"
            if is_changed and place != function.name and old.get(place) != new.get(place):
                refusals.add(
                    "lambda-renumbered",
                    f"{function.name} in {unit.pair.source} is known by its number among the "
                    "lambdas of its function, and their number changed; live objects may call "
                    "another one by that name.",
                    "Put a new lambda after the others and leave those as they are, or use a "
                    "function with a name.",
                    where=unit.pair.source,
                )


def _by_place(view: Relocatable) -> dict[str, frozenset[str]]:
    """Name without number → the names that there are."""
    found: dict[str, set[str]] = {}
    for name in view.functions:
        found.setdefault(_place(name), set()).add(name)
    return {place: frozenset(names) for place, names in found.items()}


def _place(name: str) -> str:
    return _NUMBER.sub(lambda m: f"{m[1] or m[2]}#", name)
