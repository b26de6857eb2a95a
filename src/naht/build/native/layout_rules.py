"""Judges changed types: what live processes hold was laid out by the old code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from naht.build.native.layouts import (
    changed_enumerations,
    changed_records,
    changed_variables,
    only_fills_padding,
    signatures,
)
from naht.build.native.linked import LinkedView
from naht.build.native.prototypes import accepts_old_callers
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.type_users import TypeUsers, users_of
from naht.build.native.unit import UnitComparison


def judge_layouts(units: tuple[UnitComparison, ...], refusals: Refusals) -> None:
    """Each type once, whichever of the units see it."""
    compared = [unit for unit in units if _has_types(unit, refusals)]
    changes: dict[str, _Change] = {}
    for unit in compared:
        for change in _changes(unit):
            changes.setdefault(change.name, change)
    users = users_of(changes, (unit.exact.old.debug for unit in compared)) if changes else {}
    for name, change in sorted(changes.items()):
        refusals.unless_allowed("--allow-layout", name, change.refusal(users[name]))
    for unit in compared:
        _judge_variables(unit, refusals)


def _has_types(unit: UnitComparison, refusals: Refusals) -> bool:
    """Both sides can be compared, and have what to compare by."""
    if unit.pair.old is None or unit.pair.new is None:
        return False
    if unit.exact.old.debug.entries and unit.exact.new.debug.entries:
        return True
    refusals.add(
        "no-debug-info",
        f"{unit.pair.source} was compiled without debug information, so its types can't be "
        "compared.",
        "Take -g0 out of the build's flags.",
        where=unit.pair.source,
    )
    return False


@dataclass(frozen=True)
class _Change:
    name: str
    what: str
    kind: Literal["record", "padding", "enumeration"]
    where: str

    def refusal(self, users: TypeUsers) -> Refusal:
        effect, step = _WORDS[self.kind]
        cause = f"{self.name} {self.what}; {effect}.{users}"
        return Refusal("layout-changed", cause, step.format(name=self.name), self.where)


_WORDS = {
    "record": (
        "live objects are laid out the old way",
        "Leave {name} as it was and keep the new value as shadow data (naht_shadow_get_or_alloc of "
        "naht.h), or give --allow-layout '{name}' if no object of it lives longer than one call.",
    ),
    "padding": (
        "live objects have anything there, as it was padding",
        "Leave {name} as it was and keep the new value as shadow data (naht_shadow_get_or_alloc of "
        "naht.h), or give --allow-layout '{name}' if all objects of it come from zeroed memory "
        "(calloc) and zero is right for those that live.",
    ),
    "enumeration": (
        "live processes hold the old numbers",
        "Put new members at the end with numbers of their own, or give --allow-layout '{name}' if "
        "nothing live holds a number that now means something else.",
    ),
}


def _changes(unit: UnitComparison) -> Iterator[_Change]:
    old, new, where = unit.exact.old.debug, unit.exact.new.debug, unit.pair.source
    for name, what in changed_records(old, new):
        kind: Literal["record", "padding"] = (
            "padding" if only_fills_padding(old, new, name) else "record"
        )
        yield _Change(name, what, kind, where)
    for name, what in changed_enumerations(old, new):
        yield _Change(name, what, "enumeration", where)


def _judge_variables(unit: UnitComparison, refusals: Refusals) -> None:
    where = unit.pair.source
    for name in changed_variables(unit.exact.old.debug, unit.exact.new.debug):
        refusals.add(
            "data-resized",
            f"The variable {name} in {where} has another type; live processes hold the old one.",
            f"Keep {name} as it was and put what is new into a variable of a new name.",
            where=where,
        )


def judge_signatures(
    unit: UnitComparison, changed: frozenset[str], old_link: LinkedView, refusals: Refusals
) -> None:
    """Callers outside of the object were compiled for the old prototype."""
    exported = sorted(changed & old_link.exported_names)
    if not exported:
        return
    olds, news = signatures(unit.exact.old.debug), signatures(unit.exact.new.debug)
    for name in exported:
        known = name in olds and name in news
        if known and not accepts_old_callers(olds[name], news[name]):
            refusals.add(
                "signature-changed",
                f"The prototype of the exported function {name} in {unit.pair.source} changed; "
                "callers in other objects still use the old one.",
                f"Keep {name} as it was and call a new function from it.",
                where=unit.pair.source,
            )
