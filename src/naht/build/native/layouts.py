"""Compares the types of a unit's old and new debug information: what live data looks like.

Owns the description of types. Two types are the same when code compiled for one may read what
code compiled for the other wrote; so signedness doesn't matter, but names of members do: a
member put into padding changes no size, and live objects hold garbage there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from naht.build.native.debug_info import (
    DebugInfo,
    Entry,
    follow,
    function_name,
    number,
    origin,
    qualified_name,
    text,
)
from naht.build.native.names import stem
from naht.elf import constants as c

Description = tuple[object, ...]

RECORDS = {
    "DW_TAG_structure_type": "struct", "DW_TAG_class_type": "struct", "DW_TAG_union_type": "union",
}  # fmt: skip
POINTERS = frozenset(
    {"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"}
)
TRANSPARENT = frozenset(
    {"DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type", "DW_TAG_typedef",
     "DW_TAG_immutable_type"}
)  # fmt: skip
# DW_ATE_signed, _signed_char, _unsigned, _unsigned_char, _UTF
INTEGERS = frozenset({0x05, 0x06, 0x07, 0x08, 0x10})
MAX_DEPTH = 64
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    offset: int
    bits: tuple[int | None, ...]
    type: Description

    def __str__(self) -> str:
        return f"{self.name or '(unnamed)'} at offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Record:
    """A struct, class or union as its bytes and virtual functions lie."""

    kind: str
    size: int | None
    members: tuple[Member, ...]
    bases: tuple[Description, ...]
    virtual: tuple[Description, ...]


def changed_records(old: DebugInfo, new: DebugInfo) -> Iterator[tuple[str, str]]:
    """(name, what changed) of each named struct, class or union that both sides have."""
    olds, news = records(old), records(new)
    for name in sorted(olds.keys() & news.keys()):
        if olds[name] != news[name]:
            yield name, _difference(olds[name], news[name])


def changed_variables(old: DebugInfo, new: DebugInfo) -> Iterator[str]:
    """Names of static and global variables whose type changed; constants are judged by content."""
    olds, news = _variables(old), _variables(new)
    for name in sorted(olds.keys() & news.keys()):
        if olds[name] != news[name]:
            yield name


def changed_enumerations(old: DebugInfo, new: DebugInfo) -> Iterator[tuple[str, str]]:
    """(name, what changed) of each enumeration whose members have other numbers."""
    olds, news = enumerations(old), enumerations(new)
    for name in sorted(olds.keys() & news.keys()):
        before, after = olds[name], news[name]
        for member in sorted(before.keys() & after.keys()):
            if before[member] != after[member]:
                yield name, f"has {member} = {after[member]} where it was {before[member]}"
                break


def enumerations(debug: DebugInfo) -> dict[str, dict[str, int | None]]:
    """Qualified name → the number of each member; those without a name together, by scope."""
    found: dict[str, dict[str, int | None]] = {}
    for entry in debug.entries:
        name = qualified_name_of_enumeration(entry)
        if name and "DW_AT_declaration" not in entry.attributes:
            members = found.setdefault(name, {})
            for child in entry.iter_children():
                members[text(child, "DW_AT_name")] = number(child, "DW_AT_const_value")
    return found


def signatures(debug: DebugInfo) -> dict[str, Description]:
    """Symbol of a function → what its callers must agree with."""
    found: dict[str, Description] = {}
    for entry in debug.entries:
        is_concrete = {"DW_AT_declaration", "DW_AT_abstract_origin"} & entry.attributes.keys()
        if entry.tag == "DW_TAG_subprogram" and not is_concrete:
            found[function_name(entry)] = _signature(entry, 0)
    return found


def declarations(debug: DebugInfo) -> dict[str, Description]:
    """Symbol of a function that is called here and defined elsewhere → how it is called."""
    return {
        function_name(entry): _signature(entry, 0)
        for entry in debug.entries
        if entry.tag == "DW_TAG_subprogram"
        and {"DW_AT_declaration", "DW_AT_external"} <= entry.attributes.keys()
    }


def return_sizes(debug: DebugInfo) -> dict[str, int | None]:
    """Symbol of a function → bytes of what it returns: 0 for nothing, None when not known."""
    return {
        function_name(entry): _size(follow(origin(entry), "DW_AT_type"))
        for entry in debug.entries
        if entry.tag == "DW_TAG_subprogram"
    }


def _size(entry: Entry | None) -> int | None:
    for _ in range(MAX_DEPTH):
        if entry is None:
            return 0
        if entry.tag in POINTERS:
            return 8
        if entry.tag not in TRANSPARENT:
            break
        entry = follow(entry, "DW_AT_type")
    return number(entry, "DW_AT_byte_size") if entry is not None else None


def records(debug: DebugInfo) -> dict[str, frozenset[Record]]:
    """Qualified name → the records of that name (one, but for scopes without names)."""
    found: dict[str, set[Record]] = {}
    closures: dict[str, int] = {}
    for entry in debug.entries:
        record, name = entry, qualified_name_of_record(entry)
        if not name and _is_closure(entry):
            function = qualified_name(entry.get_parent())
            closures[function] = closures.get(function, 0) + 1
            name = f"struct {function}::(lambda {closures[function]})"
        if entry.tag == "DW_TAG_typedef":
            record = follow(entry, "DW_AT_type")
        if name and record is not None and "DW_AT_declaration" not in record.attributes:
            found.setdefault(name, set()).add(describe_record(record, 0))
    return {name: frozenset(same) for name, same in found.items()}


def qualified_name_of_record(entry: Entry) -> str:
    """ "struct s", or "name" for `typedef struct {…} name`; "" for anything else."""
    if entry.tag in RECORDS and "DW_AT_name" in entry.attributes:
        return f"{RECORDS[entry.tag]} {qualified_name(entry)}"
    if entry.tag == "DW_TAG_typedef":
        target = follow(entry, "DW_AT_type")
        if target is not None and target.tag in RECORDS and "DW_AT_name" not in target.attributes:
            return qualified_name(entry)
    return ""


def qualified_name_of_enumeration(entry: Entry) -> str:
    is_enumeration = entry.tag == "DW_TAG_enumeration_type"
    return f"enum {qualified_name(entry)}" if is_enumeration else ""


def _is_closure(entry: Entry) -> bool:
    """The unnamed class of a lambda, whose members are what it captured."""
    return entry.tag in RECORDS and any(
        child.tag == "DW_TAG_subprogram" for child in entry.iter_children()
    )


def describe_record(entry: Entry, depth: int) -> Record:
    members, bases, virtual = [], [], []
    for child in entry.iter_children():
        if child.tag == "DW_TAG_member" and not _is_static_member(child):
            members.append(_member(child, depth))
        elif child.tag == "DW_TAG_inheritance":
            bases.append(_base(child, depth))
        elif child.tag == "DW_TAG_subprogram" and number(child, "DW_AT_virtuality"):
            virtual.append(_virtual_function(child))
    return Record(
        RECORDS[entry.tag], number(entry, "DW_AT_byte_size"),
        tuple(members), tuple(bases), tuple(sorted(virtual, key=repr)),
    )  # fmt: skip


def _is_static_member(child: Entry) -> bool:
    return "DW_AT_external" in child.attributes or "DW_AT_declaration" in child.attributes


def _member(child: Entry, depth: int) -> Member:
    bits = tuple(
        number(child, a)
        for a in ("DW_AT_bit_size", "DW_AT_data_bit_offset", "DW_AT_bit_offset", "DW_AT_alignment")
    )
    offset = number(child, "DW_AT_data_member_location") or 0
    described = describe(follow(child, "DW_AT_type"), depth + 1)
    return Member(text(child, "DW_AT_name"), offset, bits, described)


def _base(child: Entry, depth: int) -> Description:
    location = child.attributes.get("DW_AT_data_member_location")
    place = repr(location.value) if location else ""  # an expression for a virtual base
    virtuality = number(child, "DW_AT_virtuality")
    return ("base", place, virtuality, describe(follow(child, "DW_AT_type"), depth + 1))


def _virtual_function(child: Entry) -> Description:
    slot = child.attributes.get("DW_AT_vtable_elem_location")
    return (repr(slot.value) if slot else "", function_name(child))


def describe(entry: Entry | None, depth: int) -> Description:
    """A type as far as its bytes go; records with a name stand for themselves."""
    if entry is None:
        return ("void",)
    if depth > MAX_DEPTH:
        return ("deep",)
    if name := qualified_name_of_record(entry):
        return ("record", name)
    if entry.tag in RECORDS:
        return ("unnamed", describe_record(entry, depth + 1))
    return _describe_derived(entry, depth)


def _describe_derived(entry: Entry, depth: int) -> Description:
    if entry.tag in TRANSPARENT:
        return describe(follow(entry, "DW_AT_type"), depth + 1)
    if entry.tag in POINTERS:
        return ("pointer", describe(follow(entry, "DW_AT_type"), depth + 1))
    return _describe_other(entry, depth)


def _describe_other(entry: Entry, depth: int) -> Description:
    size = number(entry, "DW_AT_byte_size")
    match entry.tag:
        case "DW_TAG_base_type":
            encoding = number(entry, "DW_AT_encoding")
            return ("integer", size) if encoding in INTEGERS else ("base", encoding, size)
        case "DW_TAG_enumeration_type":
            return ("integer", size)
        case "DW_TAG_array_type":
            element = describe(follow(entry, "DW_AT_type"), depth + 1)
            return ("array", _dimensions(entry), element, number(entry, "DW_AT_GNU_vector"))
        case "DW_TAG_subroutine_type":
            return _signature(entry, depth + 1)
        case "DW_TAG_ptr_to_member_type":
            holder = describe(follow(entry, "DW_AT_containing_type"), depth + 1)
            return ("member", holder, describe(follow(entry, "DW_AT_type"), depth + 1))
        case _:
            inner = describe(follow(entry, "DW_AT_type"), depth + 1)
            return (entry.tag, text(entry, "DW_AT_name"), size, inner)


def _dimensions(entry: Entry) -> Description:
    """Counts of elements; None for a flexible or variable length."""
    found: list[int | None] = []
    for child in entry.iter_children():
        if child.tag == "DW_TAG_subrange_type":
            count, upper = number(child, "DW_AT_count"), number(child, "DW_AT_upper_bound")
            found.append(upper + 1 if count is None and upper is not None else count)
    return tuple(found)


def _signature(entry: Entry, depth: int) -> Description:
    parameters: list[Description] = []
    for child in entry.iter_children():
        if child.tag == "DW_TAG_formal_parameter":
            parameters.append(describe(follow(child, "DW_AT_type"), depth + 1))
        elif child.tag == "DW_TAG_unspecified_parameters":
            parameters.append(("...",))
    return ("function", describe(follow(entry, "DW_AT_type"), depth + 1), tuple(parameters))


def _variables(debug: DebugInfo) -> dict[str, frozenset[Description]]:
    found: dict[str, set[Description]] = {}
    for entry in debug.entries:
        if entry.tag == "DW_TAG_variable" and debug.is_static(entry) and _is_writable(debug, entry):
            described = describe(follow(entry, "DW_AT_type"), 0)
            found.setdefault(qualified_name(entry), set()).add(described)
    return {name: frozenset(same) for name, same in found.items()}


def _is_writable(debug: DebugInfo, entry: Entry) -> bool:
    """As far as the symbols tell; what has none is taken for writable."""
    view, name = debug.view, debug.symbol_of(entry) or function_name(entry)
    found = [d for d in view.data.values() if name in (d.name, stem(d.name).rpartition(".")[2])]
    return not found or any(
        d.section == c.SHN_COMMON or not view.is_read_only(d.section) for d in found
    )


def _difference(old: frozenset[Record], new: frozenset[Record]) -> str:
    """The differences, in words; the first few of them."""
    if len(old) != 1 or len(new) != 1:
        return "has other definitions"
    (before,), (after,) = old, new
    found = [*_different_members(before, after)]
    if before.size != after.size:
        found.append(f"has {after.size} bytes where it had {before.size}")
    if not found:
        return "has other base classes or virtual functions"
    return "; ".join(found[:SHOWN]) + ("; and more" if len(found) > SHOWN else "")


def _different_members(before: Record, after: Record) -> Iterator[str]:
    """By name where members have one, else by place."""
    olds = {m.name or m.offset: m for m in before.members}
    news = {m.name or m.offset: m for m in after.members}
    for key, now in news.items():
        was = olds.get(key)
        if was is None:
            yield f"has the new member {now}"
        elif (was.offset, was.bits) != (now.offset, now.bits):
            yield f"has {now} where it was at {was.offset}"
        elif was.type != now.type:
            yield f"has another type of member {now}"
    for key, gone in olds.items():
        if key not in news:
            yield f"lost the member {gone}"


def only_fills_padding(old: DebugInfo, new: DebugInfo, name: str) -> bool:
    """Whether all that differs is new members where nothing was before."""
    olds, news = records(old).get(name, frozenset()), records(new).get(name, frozenset())
    if len(olds) != 1 or len(news) != 1:
        return False
    (before,), (after,) = olds, news
    same = (before.kind, before.size, before.bases, before.virtual) == (
        after.kind, after.size, after.bases, after.virtual
    )  # fmt: skip
    return same and set(before.members) < set(after.members)
