"""Judges changed types: what live processes hold was laid out by the old code."""

from __future__ import annotations

from naht.build.native.layouts import (
    changed_enumerations,
    changed_records,
    changed_variables,
    signatures,
)
from naht.build.native.linked import LinkedView
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.unit import UnitComparison


def judge_layouts(unit: UnitComparison, refusals: Refusals) -> None:
    old, new, where = unit.exact.old.debug, unit.exact.new.debug, unit.pair.source
    if unit.pair.old is None or unit.pair.new is None:
        return
    if not (old.entries and new.entries):
        refusals.add(
            "no-debug-info",
            f"{where} was compiled without debug information, so its types can't be compared.",
            "Take -g0 out of the build's flags.",
            where=where,
        )
        return
    for name, what in changed_records(old, new):
        refusals.unless_allowed("--allow-layout", name, _layout(name, what, where))
    for name, what in changed_enumerations(old, new):
        refusals.unless_allowed("--allow-layout", name, _numbering(name, what, where))
    for name in changed_variables(old, new):
        refusals.add(
            "data-resized",
            f"The variable {name} in {where} has another type; live processes hold the old one.",
            f"Keep {name} as it was and put what is new into a variable of a new name.",
            where=where,
        )


def _layout(name: str, what: str, where: str) -> Refusal:
    return Refusal(
        "layout-changed",
        f"{name} {what}; live objects are laid out the old way.",
        f"Keep the new value outside of {name} (a table by address, an unused bit), or give "
        f"--allow-layout '{name}' if no object of it lives longer than one call.",
        where,
    )


def _numbering(name: str, what: str, where: str) -> Refusal:
    return Refusal(
        "layout-changed",
        f"{name} {what}; live processes hold the old numbers.",
        f"Put new members at the end with numbers of their own, or give --allow-layout '{name}' if "
        "nothing live holds a number that now means something else.",
        where,
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
        if name in olds and name in news and olds[name] != news[name]:
            refusals.add(
                "signature-changed",
                f"The prototype of the exported function {name} in {unit.pair.source} changed; "
                "callers in other objects still use the old one.",
                f"Keep {name} as it was and call a new function from it.",
                where=unit.pair.source,
            )
