"""The facts that pass from judging a change to emitting it. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from naht.build.compile_pair import UnitPair
from naht.hotpatch.manifest import Allowance, Hooks


@dataclass(frozen=True)
class IncludedFunction:
    """A function whose new code goes into the hotpatch.

    Names are symbols of the unit's sectioned objects, clone suffixes included. `cold` and
    `old_cold` are the symbols of its split-off parts (`foo.cold`), new and old.
    """

    unit: UnitPair
    name: str
    change: Literal["changed", "new"]
    old_name: str = ""
    cold: tuple[str, ...] = ()
    old_cold: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ChangeSet:
    """What changed in one linked object, judged: everything in here may be a hotpatch.

    matched: for each unit, new local symbol → old local symbol of the same thing (static
    functions, their clones, static data, static locals), where the names differ or not; a new
    local datum without an entry is new and goes into the hotpatch.
    """

    functions: tuple[IncludedFunction, ...]
    matched: dict[UnitPair, dict[str, str]]
    dropped: tuple[str, ...]  # functions whose only difference was line numbers or paths
    allowances: tuple[Allowance, ...]
    hooks: Hooks
    looping: tuple[str, ...] = ()  # changed functions whose old loops go back to their entry
    notes: tuple[str, ...] = ()  # what the author should know although nothing is refused
