"""Judges changes of data: what live processes already hold can't be changed by new code.

Owns the rules for writable data, shared constants, vtables, static constructors and sections of
unknown purpose. Each refusal names the datum and the file.
"""

from __future__ import annotations

from naht.build.native.matching import is_read_only
from naht.build.native.meaning import Meaning, Meanings, symbols_in, typeinfo_name
from naht.build.native.names import (
    family,
    is_static_initializer,
    is_vtable_or_typeinfo,
    stem,
)
from naht.build.native.old_code import OldCode
from naht.build.native.refusals import Refusal, Refusals
from naht.build.native.relocatable import Definition, Named, Relocatable
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c
from naht.elf.file import Section

CONSTRUCTOR_SECTIONS = (
    ".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors",
)  # fmt: skip
# Sections whose content belongs to named things or to functions, which other rules judge, and
# the lists that only tracers read
ORDINARY_SECTIONS = (
    ".text", ".data", ".bss", ".rodata", ".tdata", ".tbss", ".ldata", ".lbss", ".lrodata",
    ".eh_frame", ".gcc_except_table", ".gnu.linkonce.", ".naht.hooks.", ".init", ".fini",
    "__patchable_function_entries", "__mcount_loc", *CONSTRUCTOR_SECTIONS,
)  # fmt: skip


def judge_data(
    units: tuple[UnitComparison, ...],
    constants: dict[str, frozenset[str]],
    old: OldCode,
    refusals: Refusals,
) -> None:
    """Every named datum, then the sections that have no names."""
    for unit in units:
        changed = constants[unit.pair.source]
        if unit.exact.identical and not changed:
            continue
        for new in unit.exact.new.view.data.values():
            if _is_ordinary(unit.exact.new.view, new):
                _judge_datum(unit, new, changed, old, refusals)
        _judge_constants(unit, old, changed, refusals)
        _judge_constructors(unit, old, refusals)
        _judge_unnamed_variables(unit, refusals)
        _judge_other_sections(unit, refusals)


def _judge_datum(
    unit: UnitComparison,
    new: Definition,
    changed_constants: frozenset[str],
    old: OldCode,
    refusals: Refusals,
) -> None:
    old_name = unit.exact.old_datum_of(new)
    if not old_name:
        _judge_new(unit, new, refusals)
    elif old.is_linked(unit, old_name):
        before = unit.exact.old.view.data[old_name]
        _judge_pair(unit, before, new, changed_constants, refusals)


def _judge_pair(
    unit: UnitComparison,
    old: Definition,
    new: Definition,
    changed_constants: frozenset[str],
    refusals: Refusals,
) -> None:
    comparison, where = unit.exact, unit.pair.source
    was_constant = is_read_only(comparison.old.view, old)
    is_constant = is_read_only(comparison.new.view, new)
    if was_constant != is_constant:
        _refuse_moved(new.name, where, is_constant, refusals)
    elif is_constant:
        return
    elif old.size != new.size:
        refusals.add(
            "data-resized",
            f"The variable {new.name} in {where} changed from {old.size} to {new.size} bytes; "
            "live processes hold the old one.",
            f"Keep {new.name} as it was and put what is new into a variable of a new name.",
            where=where,
        )
    elif not unit.is_same_datum(old.name, new.name):
        _refuse_value(unit, old, "has another initial value", refusals)
    elif function := _labelled_function(unit, new, changed_constants):
        refusals.add(
            "label-stored",
            f"The variable {new.name} in {where} holds places inside {function}, which changed; "
            "live processes keep those of the old code.",
            f"Make {new.name} constant (static void *const …[]), in a baseline before this change.",
            where=where,
        )
    elif used := changed_constants & set(symbols_in(comparison.new_meanings.datum(new.name))):
        _refuse_value(unit, old, f"points to the changed constant {min(used)}", refusals)


def _labelled_function(
    unit: UnitComparison, datum: Definition, changed_constants: frozenset[str]
) -> str:
    """The changed function of whose labels (computed goto) a variable is a table, else ""."""
    changed = unit.different_functions | unit.functions_using(changed_constants).keys()
    for reference in unit.exact.new.view.references_of(datum):
        target = reference.target
        if isinstance(target, Named) and target.offset and target.symbol.name in changed:
            return target.symbol.name
    return ""


def _kind(constant: bool) -> str:
    return "read-only" if constant else "writable"


def _refuse_value(unit: UnitComparison, old: Definition, what: str, refusals: Refusals) -> None:
    name, where = stem(old.name), unit.pair.source
    refusals.unless_allowed(
        "--allow-data",
        name,
        Refusal(
            "data-changed",
            f"The variable {name} in {where} {what}; live processes keep the old value.",
            f"Set it in a post-apply hook (NAHT_POST_APPLY) and give --allow-data {name}; "
            f"--allow-data {name} alone when the old value does no harm.",
            where,
        ),
    )


def _judge_new(unit: UnitComparison, new: Definition, refusals: Refusals) -> None:
    where = unit.pair.source
    if new.symbol.type == c.STT_TLS:
        refusals.add(
            "tls-added",
            f"{new.name} in {where} is a new thread-local variable; live threads have no room "
            "for it.",
            "Use a variable of the process, or keep the value in memory found by thread id.",
            where=where,
        )
    elif new.name in unit.exact.matching.ambiguous:
        _refuse_ambiguous(unit, new, refusals)
    elif is_read_only(unit.exact.new.view, new) and _was_variable(unit, new):
        _refuse_moved(new.name, where, True, refusals)


def _was_variable(unit: UnitComparison, new: Definition) -> bool:
    """The other way round is harmless for statics: what the old code never wrote is the new
    variable's first value."""
    return any(
        old.is_local and family(old.name) == family(new.name)
        for old in unit.exact.old.view.data.values()
        if not is_read_only(unit.exact.old.view, old)
    )


def _refuse_moved(name: str, where: str, is_constant: bool, refusals: Refusals) -> None:
    refusals.add(
        "data-moved",
        f"{name} in {where} moved from {_kind(not is_constant)} to {_kind(is_constant)} data.",
        f"Leave {name} where it was, or put the new data into a variable of a new name.",
        where=where,
    )


def _refuse_ambiguous(unit: UnitComparison, new: Definition, refusals: Refusals) -> None:
    name, where = stem(new.name), unit.pair.source
    refusals.unless_allowed(
        "--allow-data",
        name,
        Refusal(
            "static-ambiguous",
            f"The static variable {new.name} in {where} may be one that the old code has under "
            "the same name in another place.",
            f"Give the new variable a name of its own, or --allow-data {name} to start it afresh.",
            where,
        ),
    )


def _judge_constants(
    unit: UnitComparison,
    old: OldCode,
    changed_constants: frozenset[str],
    refusals: Refusals,
) -> None:
    """A changed constant is copied into the hotpatch, so nobody else may use the old one."""
    view, where = unit.exact.old.view, unit.pair.source
    for name in sorted(changed_constants & view.data.keys()):
        if not old.is_linked(unit, name):
            continue
        if is_vtable_or_typeinfo(name):
            refusals.add(
                "vtable-changed",
                f"{name} in {where} changed: live objects keep the old virtual functions or type.",
                "Change the bodies of existing virtual functions only; add none, remove none.",
                where=where,
            )
        elif user := _other_user(unit, name, old):
            refusals.unless_allowed("--allow-data", stem(name), _exported(name, user, where))


def _exported(name: str, user: str, where: str) -> Refusal:
    return Refusal(
        "constant-exported",
        f"The constant {name} in {where} changed, and {user} keeps reading the old one.",
        f"Leave {name} as it is and let the changed code use a new constant; --allow-data "
        f"{stem(name)} when nobody else reads it, or the old one does no harm.",
        where,
    )


def _other_user(unit: UnitComparison, name: str, old: OldCode) -> str:
    """Who reads a constant without being rebuilt: other objects, and units without change."""
    if unit.exact.old.view.data[name].is_local:
        return ""
    if name in old.link.exported_names:
        return "any object that is linked to this one"
    return next((path.name for path in old.unchanged if old.mentions(path, name)), "")


def _judge_constructors(unit: UnitComparison, old_code: OldCode, refusals: Refusals) -> None:
    comparison, where = unit.exact, unit.pair.source
    old = _sections(comparison.old.view, comparison.old_meanings, CONSTRUCTOR_SECTIONS)
    new = _sections(comparison.new.view, comparison.new_meanings, CONSTRUCTOR_SECTIONS)
    if old != new:
        names = ", ".join(sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k)))
        refusals.add(
            "constructor-changed",
            f"The list of static constructors or destructors in {where} changed ({names}); in "
            "live processes the constructors have run.",
            "Take the constructor out, and do its work in a post-apply hook (NAHT_POST_APPLY).",
            where=where,
        )
    listed = constructor_functions(comparison.new.view)
    for name in sorted(n for n in unit.different_functions if old_code.is_linked(unit, n)):
        if name in listed or is_static_initializer(name):
            refusals.unless_allowed("--allow-constructor", name, _constructor(name, where))


def _constructor(name: str, where: str) -> Refusal:
    return Refusal(
        "constructor-changed",
        f"The static constructor or destructor {name} in {where} changed; in live processes the "
        "constructors have run.",
        f"Do its work in a post-apply hook (NAHT_POST_APPLY) and give --allow-constructor {name}.",
        where,
    )


def constructor_functions(view: Relocatable) -> frozenset[str]:
    return frozenset(
        reference.target.symbol.name
        for section in view.elf.sections
        if section.name.startswith(CONSTRUCTOR_SECTIONS) and section.flags & c.SHF_ALLOC
        for reference in view.references(section.index)
        if isinstance(reference.target, Named)
    )


def _judge_unnamed_variables(unit: UnitComparison, refusals: Refusals) -> None:
    """Writable data that no symbol covers can't be matched piece by piece."""
    comparison, where = unit.exact, unit.pair.source
    old = _unnamed(comparison.old.view, comparison.old_meanings)
    new = _unnamed(comparison.new.view, comparison.new_meanings)
    for name in sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k)):
        refusals.add(
            "data-changed",
            f"Writable data without a name, in {name} of {where}, changed; live processes keep "
            "the old value.",
            "Give that data a name, and leave it as it was.",
            where=where,
        )


def _unnamed(view: Relocatable, meanings: Meanings) -> dict[str, list[Meaning]]:
    named = {definition.section for definition in view.data.values()}
    found: dict[str, list[Meaning]] = {}
    for section in view.elf.sections:
        writable = section.flags & c.SHF_WRITE and not view.is_read_only(section.index)
        special = section.name.startswith((*CONSTRUCTOR_SECTIONS, ".naht.hooks."))
        if not writable or section.index in named or special:
            continue
        if section.size and not _holds_only_types(view, section):
            found.setdefault(section.name, []).append(meanings.section(section.index))
    return found


def _holds_only_types(view: Relocatable, section: Section) -> bool:
    """Pointers that only exception tables use, and that nobody writes to."""
    types = [r for r in view.references(section.index) if typeinfo_name(r)]
    return len(types) * 8 == section.size


def _judge_other_sections(unit: UnitComparison, refusals: Refusals) -> None:
    comparison, where = unit.exact, unit.pair.source
    old = _other_sections(comparison.old.view, comparison.old_meanings)
    new = _other_sections(comparison.new.view, comparison.new_meanings)
    for name in sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k)):
        refusals.add(
            "special-section-changed",
            f"The section {name} in {where} changed, and what reads it is unknown.",
            "Keep the content of that section as it is.",
            where=where,
        )


def _sections(
    view: Relocatable, meanings: Meanings, prefixes: tuple[str, ...]
) -> dict[str, list[Meaning]]:
    found: dict[str, list[Meaning]] = {}
    for section in view.elf.sections:
        if section.flags & c.SHF_ALLOC and section.name.startswith(prefixes) and section.size:
            found.setdefault(section.name, []).append(meanings.section(section.index))
    return found


def _other_sections(view: Relocatable, meanings: Meanings) -> dict[str, list[Meaning]]:
    found: dict[str, list[Meaning]] = {}
    for section in view.elf.sections:
        special = section.flags & c.SHF_ALLOC and not section.flags & c.SHF_EXECINSTR
        if special and section.size and not section.name.startswith(ORDINARY_SECTIONS):
            found.setdefault(section.name, []).append(meanings.section(section.index))
    return found


def _is_ordinary(view: Relocatable, datum: Definition) -> bool:
    """Labels in special sections are judged with their section."""
    return datum.section == c.SHN_COMMON or view.section(datum.section).name.startswith(
        ORDINARY_SECTIONS
    )
