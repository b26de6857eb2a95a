"""Judges the functions that are to be replaced, and the old code that they are in.

Owns the rules for prototypes, IFUNC, assembly, entries, and for the build's sectioned form: it
must be the same code as the one that was linked.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from naht.build.native.changes import IncludedFunction
from naht.build.native.entries import Landings, judge_entry, starts_again
from naht.build.native.layout_rules import judge_signatures
from naht.build.native.old_code import OldCode
from naht.build.native.reach import Inclusion
from naht.build.native.refusals import Refusals
from naht.build.native.relocatable import Relocatable
from naht.build.native.same_code import FormComparison, place_of, steps
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c

ASSEMBLY_SUFFIXES = frozenset({".s", ".S", ".sx", ".asm"})
RUN_ONCE = frozenset({"main", "_start"})


def judge_code(included: Inclusion, old: OldCode, refusals: Refusals) -> None:
    for unit in included.touched_units():
        functions = [f for f in included.in_order() if f.unit is unit.pair]
        changed = [f for f in functions if f.change == "changed"]
        _judge_names(unit, old, refusals)
        _judge_places(unit, changed, old, refusals)
        _judge_forms(unit, {f.old_name for f in changed}, old, refusals)
        judge_signatures(unit, frozenset(f.name for f in changed), old.link, refusals)
        landings = Landings(old.plain(unit))
        for function in functions:
            _judge_kind(unit, function, refusals)
        for function in changed:
            _judge_labels(unit, function, old, refusals)
            judge_entry(unit, function.old_name, old, landings, refusals)


def looping_functions(included: Inclusion, old: OldCode) -> tuple[str, ...]:
    """Changed functions that must not be replaced while an old call of them runs."""
    found = []
    for unit in included.touched_units():
        for changed in included.in_order():
            if changed.unit is not unit.pair or changed.change != "changed":
                continue
            function, address = (
                old.function(unit, changed.old_name), old.address(unit, changed.old_name)
            )  # fmt: skip
            if function and address and starts_again(old.code(address, function.size)):
                found.append(changed.name)
    return tuple(sorted(found))


def is_assembly(unit: UnitComparison) -> bool:
    return PurePosixPath(unit.pair.source).suffix in ASSEMBLY_SUFFIXES


def judge_assembly(unit: UnitComparison, refusals: Refusals) -> None:
    """The builder can't tell functions, sizes or clobbers in what people wrote by hand."""
    if _sections(unit.exact.old.view) != _sections(unit.exact.new.view):
        _refuse_assembly(unit.pair.source, unit.pair.source, refusals)


def _sections(view: Relocatable) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for section in view.elf.sections:
        if section.flags & c.SHF_ALLOC and not section.name.startswith(".note."):
            fields = [(r.field, r.type, r.target) for r in view.references(section.index)]
            found.append((section.name, section.flags, view.content(section.index), repr(fields)))
    return found


def _refuse_assembly(what: str, where: str, refusals: Refusals) -> None:
    refusals.add(
        "assembly-changed",
        f"{what} is assembly and changed.",
        "Write the fix in C or C++, or release the change as a new baseline.",
        where=where,
    )


def _judge_names(unit: UnitComparison, old: OldCode, refusals: Refusals) -> None:
    views = (old.plain(unit), unit.exact.old.view, unit.exact.new.view)
    if repeated := sorted(frozenset().union(*(view.repeated_names for view in views))):
        refusals.add(
            "ambiguous-symbol",
            f"{unit.pair.source} defines {', '.join(repeated[:4])} more than once.",
            "Link the source files one by one, without `ld -r`.",
            where=unit.pair.source,
        )


def _judge_places(
    unit: UnitComparison, changed: list[IncludedFunction], old: OldCode, refusals: Refusals
) -> None:
    """Whether the linked object has the old code where the link map says."""
    for function in changed:
        for name in (function.old_name, *function.old_cold):
            if not old.is_where_it_should_be(unit, name):
                refusals.add(
                    "placement-wrong",
                    f"The linked object has other code at the place of {name} than "
                    f"{unit.pair.source} was compiled to.",
                    "Link without tools that rewrite code afterwards (bolt, objcopy, prelink).",
                    where=unit.pair.source,
                )


def _judge_forms(unit: UnitComparison, changed: set[str], old: OldCode, refusals: Refusals) -> None:
    """-ffunction-sections should not change code. Where it did, what was found by comparing the
    sectioned forms may be wrong, unless the linked forms don't differ either."""
    if unit.pair.old is None or unit.pair.new is None:
        return
    forms = FormComparison(unit.exact.old.view, old.plain(unit))
    suspects = [n for n in forms.differing_functions() if old.is_linked(unit, n)]
    if not suspects:
        return
    linked = FormComparison(old.plain(unit), Relocatable.load(unit.pair.new.plain))
    wrong = [n for n in suspects if n in changed or not linked.is_same(n)]
    if wrong:
        refusals.add(
            "sections-change-code",
            f"The compiler makes other code of {', '.join(wrong[:8])} in {unit.pair.source} when "
            "each function has a section of its own.",
            "Build both trees, and the running binary, with -ffunction-sections.",
            where=unit.pair.source,
        )


def _judge_kind(unit: UnitComparison, function: IncludedFunction, refusals: Refusals) -> None:
    where = unit.pair.source
    sides = [(unit.exact.new.view, function.name)]
    if function.change == "changed":
        sides.append((unit.exact.old.view, function.old_name))
    if any(_is_ifunc(view, name) for view, name in sides):
        refusals.add(
            "ifunc-changed",
            f"{function.name} in {where} is an IFUNC resolver and changed; live processes have "
            "asked it already.",
            "Change the implementations that it chooses from, not the choice.",
            where=where,
        )
    if any(view.functions[name].symbol.size == 0 for view, name in sides):
        _refuse_assembly(f"{function.name} in {where}", where, refusals)
    if function.change == "changed" and function.name in RUN_ONCE:
        refusals.note(f"{function.name} runs once: live processes stay in the old one.")


def _judge_labels(
    unit: UnitComparison, function: IncludedFunction, old: OldCode, refusals: Refusals
) -> None:
    """`&&label` may be kept in live memory (coroutines, threaded code), and is a place in the one
    code that took it: the other's registers and frame are laid out otherwise."""
    sides = ((old.plain(unit), function.old_name), (unit.exact.new.view, function.name))
    if any(name in view.functions and _takes_own_label(view, name) for view, name in sides):
        refusals.add(
            "label-stored",
            f"{function.name} in {unit.pair.source} takes the address of a label of its own, which "
            "live processes may hold.",
            "Change a function that it calls instead, or let it jump through a constant table.",
            where=unit.pair.source,
        )


def _takes_own_label(view: Relocatable, name: str) -> bool:
    function = view.functions[name]
    for step in steps(view, function):
        place = None if isinstance(step.body, int) else place_of(step, view)
        if place and place[0] == function.section and function.offset < place[1] < function.end:
            return True
    return False


def _is_ifunc(view: Relocatable, name: str) -> bool:
    """Under any of its names: the resolver itself is an ordinary function too."""
    function = view.functions[name]
    return any(
        other.symbol.type == c.STT_GNU_IFUNC
        and (other.section, other.offset) == (function.section, function.offset)
        for other in view.functions.values()
    )
