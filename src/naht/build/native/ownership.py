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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from naht.build.native.changes import IncludedFunction
from naht.build.native.debug_info import (
    Entry,
    code_ranges,
    enclosing,
    follow,
    function_name,
    origin,
)
from naht.build.native.layouts import MAX_DEPTH, POINTERS, TRANSPARENT, qualified_name_of_record
from naht.build.native.matching import Side
from naht.build.native.names import stem
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.relocatable import Named, Reference, Relocatable
from naht.build.native.unit import UnitComparison

# What allocators and releasers are called in C and C++ libraries; Itanium C++ ABI 5.1.5 for
# operators new (_Znw, _Zna) and delete (_Zdl, _Zda).
_ALLOCATES = re.compile(r"alloc|new|dup|create|^_Zn[wa]", re.IGNORECASE)
_RELEASES = re.compile(r"free|release|destroy|delete|unref|dispose|^_Zd[la]", re.IGNORECASE)

# What a function is called that says of itself that it does so, whatever its result is.
_CALLED_MAKER = re.compile(r"(?:^|_)(?:[cmz]?alloc|new|dup|create)|Alloc|New|Dup|Create")
_CALLED_RELEASER = re.compile(
    r"(?:^|_)(?:free|release|destroy|delete|unref|dispose)"
    r"|Free|Release|Destroy|Delete|Unref|Dispose"
)

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
        changed = [
            f for f in included.in_order() if f.unit is unit.pair and f.change == "changed"
        ]  # fmt: skip
        yield from _roles_in(unit, _changed_calls(unit, changed))


def _roles_in(unit: UnitComparison, calls: dict[str, _Calls]) -> Iterator[_Role]:
    for entry in unit.exact.new.debug.entries if calls else ():
        if entry.tag == "DW_TAG_subprogram" and entry is origin(entry):
            name = function_name(entry)
            for type_, makes in _handled_types(entry, calls[name]) if name in calls else ():
                yield _Role(name, type_, makes, str(calls[name]), unit.pair.source)


def _changed_calls(
    unit: UnitComparison, changed: Sequence[IncludedFunction]
) -> dict[str, _Calls]:  # fmt: skip
    """By function as the source names it; of what was inlined into changed ones, too."""
    old = _inlined_calls(unit.exact.old, [f.old_name for f in changed])
    new = _inlined_calls(unit.exact.new, [f.name for f in changed])
    found = {name: _Calls(old[name], new[name]) for name in old.keys() & new.keys()}
    for f in changed:
        found[stem(f.name)] = _Calls(
            _own_calls(unit.exact.old.view, (f.old_name, *f.old_cold)),
            _own_calls(unit.exact.new.view, (f.name, *f.cold)),
        )
    return {name: calls for name, calls in found.items() if calls.old != calls.new}


def _handled_types(entry: Entry, calls: _Calls) -> Iterator[tuple[str, bool]]:
    """(type, whether it makes it): a maker returns a pointer to what it allocates, or puts it where
    the caller says; a releaser takes a pointer. It returns nothing, or is called what it is."""
    name, answers = function_name(entry), "DW_AT_type" in entry.attributes
    taken = [
        _record_pointed_to(child) for child in entry.iter_children()
        if child.tag == "DW_TAG_formal_parameter"
    ]  # fmt: skip
    if calls.any_like(_ALLOCATES):
        if made := _record_pointed_to(entry)[0]:
            yield made, True
        if _CALLED_MAKER.search(name):
            yield from ((type_, True) for type_, pointers in taken if pointers == 2)
    if calls.any_like(_RELEASES) and (not answers or _CALLED_RELEASER.search(name)):
        yield from ((type_, False) for type_, pointers in taken if pointers)


def _record_pointed_to(entry: Entry) -> tuple[str, int]:
    """The struct or class that what the entry declares points to, and through how many pointers;
    ("", 0) for anything else."""
    pointers, at = 0, follow(entry, "DW_AT_type")
    for _ in range(MAX_DEPTH):
        if at is None:
            break
        if pointers and (name := qualified_name_of_record(at)):
            return name, pointers
        if at.tag not in POINTERS | TRANSPARENT:
            break
        pointers += at.tag in POINTERS
        at = follow(at, "DW_AT_type")
    return "", 0


@dataclass(frozen=True)
class _Calls:
    """What a function calls or names, and how often, before and after."""

    old: Counter[str]
    new: Counter[str]

    def any_like(self, words: re.Pattern[str]) -> bool:
        return any(words.search(name) for name in (*self.old, *self.new))

    def __str__(self) -> str:
        names = sorted(self.old.keys() | self.new.keys())
        counts = [(name, self.old[name], self.new[name]) for name in names]
        return ", ".join(f"{n} {old} → {new} times" for n, old, new in counts if old != new)


def _own_calls(view: Relocatable, names: Iterable[str]) -> Counter[str]:
    definitions = [view.functions[name] for name in names if name in view.functions]
    return _count(view, (r for d in definitions for r in view.references_of(d)))


def _inlined_calls(side: Side, holders: Sequence[str]) -> dict[str, Counter[str]]:
    """Function → what the code that it became within `holders` calls; split-off parts left out."""
    found: dict[str, Counter[str]] = {}
    within = {stem(name): side.view.functions.get(name) for name in holders}
    for entry in side.debug.entries:
        if entry.tag != "DW_TAG_inlined_subroutine":
            continue
        holder = enclosing(entry, "DW_TAG_subprogram")
        place = within.get(function_name(holder)) if holder is not None else None
        if place:
            calls = found.setdefault(function_name(entry), Counter())
            for start, end in code_ranges(entry):
                references = side.view.references_in(place.section, start, end)
                calls.update(_count(side.view, references))
    return found


def _count(view: Relocatable, references: Iterable[Reference]) -> Counter[str]:
    """Functions, and whatever other units define: an allocator may be a variable there."""
    return Counter(
        stem(r.target.symbol.name)
        for r in references
        if isinstance(r.target, Named) and r.target.symbol.name not in view.data
    )


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
