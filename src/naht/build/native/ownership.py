"""Judges who frees what: objects that old code made are released by new code, and after a revert
the other way round.

Owns one question. A fix may change what a maker hands out (a copy where it was shared) together
with what the releaser gives back: no layout changes, yet each object that lives is released by the
wrong rule (libxml2, CVE-2022-40304). Refuses a hotpatch in which a function that allocates a type
and one that releases it both call other things than before. It knows calls and types, not
meanings: other agreements between functions are left to the author.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from naht.build.native.changes import IncludedFunction
from naht.build.native.debug_info import DebugInfo, Entry, follow, function_name, origin
from naht.build.native.layouts import MAX_DEPTH, POINTERS, TRANSPARENT, qualified_name_of_record
from naht.build.native.names import stem
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.relocatable import Named, Relocatable
from naht.build.native.unit import UnitComparison

# What allocators and releasers are called in C and C++ libraries; Itanium C++ ABI 5.1.5 for
# operators new (_Znw, _Zna) and delete (_Zdl, _Zda).
_ALLOCATES = re.compile(r"alloc|new|dup|create|^_Zn[wa]", re.IGNORECASE)
_RELEASES = re.compile(r"free|release|destroy|delete|unref|dispose|^_Zd[la]", re.IGNORECASE)

# naht.h's own types (of its inline functions): no old code made or will see any.
_SHADOW_DATA = "struct naht_shadow_"


def judge_ownership(included: Inclusion, refusals: Refusals) -> None:
    makers: dict[str, _Role] = {}
    releasers: dict[str, _Role] = {}
    for role in _roles(included):
        (makers if role.makes else releasers).setdefault(role.type, role)
    for name in sorted(makers.keys() & releasers.keys()):
        if name.startswith(_SHADOW_DATA):
            continue
        refusals.unless_allowed("--allow-ownership", name, _refusal(makers[name], releasers[name]))


@dataclass(frozen=True)
class _Role:
    """A changed function that makes or releases objects of a type, and what it calls now."""

    function: str
    type: str
    makes: bool
    calls: str  # how its calls changed, for people
    where: str


def _roles(included: Inclusion) -> Iterator[_Role]:
    for unit in included.touched_units():
        changes = {
            stem(f.name): calls
            for f in included.in_order()
            if f.unit is unit.pair and f.change == "changed" and (calls := _Calls(unit, f)).differ
        }
        if changes:
            yield from _roles_in(unit, changes)


def _roles_in(unit: UnitComparison, changes: dict[str, _Calls]) -> Iterator[_Role]:
    """Of the changed functions, and of those that have been inlined into changed ones only."""
    debug = unit.exact.new.debug
    holders = _holders(debug)
    for entry in debug.entries:
        if entry.tag != "DW_TAG_subprogram" or entry is not origin(entry):
            continue
        name = function_name(entry)
        within = {name} if name in changes else holders.get(name, set())
        if within and within <= changes.keys():
            calls = changes[min(within)]
            for type_, makes in _handled_types(entry, calls):
                yield _Role(name, type_, makes, str(calls), unit.pair.source)


def _holders(debug: DebugInfo) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for holder, inlined in debug.inlined.items():
        for name in inlined:
            found.setdefault(name, set()).add(holder)
    return found


def _handled_types(entry: Entry, calls: _Calls) -> Iterator[tuple[str, bool]]:
    """(type, whether it makes it): a maker returns a pointer to what it allocates, a releaser
    takes a pointer and returns nothing."""
    if "DW_AT_type" in entry.attributes:
        if calls.any_like(_ALLOCATES) and (made := _record_pointed_to(entry)):
            yield made, True
    elif calls.any_like(_RELEASES):
        for child in entry.iter_children():
            if child.tag == "DW_TAG_formal_parameter" and (taken := _record_pointed_to(child)):
                yield taken, False


def _record_pointed_to(entry: Entry) -> str:
    """The struct or class that what the entry declares points to, "" for anything else."""
    through_pointer, at = False, follow(entry, "DW_AT_type")
    for _ in range(MAX_DEPTH):
        if at is None or at.tag not in POINTERS | TRANSPARENT:
            break
        if through_pointer and (name := qualified_name_of_record(at)):
            return name
        through_pointer = through_pointer or at.tag in POINTERS
        at = follow(at, "DW_AT_type")
    return qualified_name_of_record(at) if at is not None and through_pointer else ""


@dataclass(frozen=True)
class _Calls:
    """What a function calls or names, before and after."""

    unit: UnitComparison
    function: IncludedFunction

    @cached_property
    def old(self) -> Counter[str]:
        view = self.unit.exact.old.view
        return _outside(view, (self.function.old_name, *self.function.old_cold))

    @cached_property
    def new(self) -> Counter[str]:
        view = self.unit.exact.new.view
        return _outside(view, (self.function.name, *self.function.cold))

    @property
    def differ(self) -> bool:
        return self.old != self.new

    def any_like(self, words: re.Pattern[str]) -> bool:
        return any(words.search(name) for name in (*self.old, *self.new))

    def __str__(self) -> str:
        names = sorted(self.old.keys() | self.new.keys())
        counts = [(name, self.old[name], self.new[name]) for name in names]
        return ", ".join(f"{n} {old} → {new} times" for n, old, new in counts if old != new)


def _outside(view: Relocatable, names: tuple[str, ...]) -> Counter[str]:
    """Functions, and whatever other units define: an allocator may be a variable there."""
    own = {stem(name) for name in names}
    called = (
        stem(r.target.symbol.name)
        for name in names
        if name in view.functions
        for r in view.references_of(view.functions[name])
        if isinstance(r.target, Named) and r.target.symbol.name not in view.data
    )
    return Counter(name for name in called if name not in own)


def _refusal(maker: _Role, releaser: _Role) -> Refusal:
    name = maker.type
    return Refusal(
        "ownership-changed",
        f"{maker.function} makes {name} and {releaser.function} releases it, and both call things "
        f"otherwise than before ({maker.function} {maker.calls}; {releaser.function} "
        f"{releaser.calls}). Objects that live were made by the old rule and would be released by "
        "the new one.",
        f"Look at both. Let {releaser.function} tell old objects from new ones (shadow data of "
        "naht.h can mark the new ones) and leave the rest of it as it was; or give "
        f"--allow-ownership '{name}' if new code may release what old code made, and old code what "
        "new code made.",
        maker.where,
    )
