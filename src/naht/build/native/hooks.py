"""Finds the author's hooks, which `naht.h` lists in sections of their own."""

from __future__ import annotations

from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Named
from naht.build.native.unit import UnitComparison
from naht.hotpatch.manifest import Hooks

PREFIX = ".naht.hooks."
KINDS = ("pre_apply", "post_apply", "pre_revert")


def include_hooks(
    units: tuple[UnitComparison, ...], included: Inclusion, refusals: Refusals
) -> Hooks:
    found: dict[str, str] = {}
    for kind in KINDS:
        listed = [(unit, name) for unit in units for name in hook_names(unit, kind)]
        for unit, name in listed:
            included.add_new(unit, name)
            found[kind] = name
        if len(listed) > 1:
            _refuse_several(kind, listed, refusals)
    return Hooks(**found)


def hook_names(unit: UnitComparison, kind: str) -> list[str]:
    """The functions that the section of one kind of hook points to."""
    view = unit.exact.new.view
    return [
        reference.target.symbol.name
        for section in view.elf.sections
        if section.name == PREFIX + kind
        for reference in view.references(section.index)
        if isinstance(reference.target, Named) and reference.target.symbol.name in view.functions
    ]


def all_hooks(unit: UnitComparison) -> frozenset[str]:
    return frozenset(name for kind in KINDS for name in hook_names(unit, kind))


def _refuse_several(
    kind: str, listed: list[tuple[UnitComparison, str]], refusals: Refusals
) -> None:
    names = ", ".join(f"{name} in {unit.pair.source}" for unit, name in listed)
    refusals.add(
        "several-hooks",
        f"There is more than one {kind} hook: {names}.",
        "Call all of them from one function, and make that the hook.",
        where=listed[1][0].pair.source,
    )
