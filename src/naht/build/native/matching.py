"""Which local symbol of the new object is which of the old: clones, statics, static locals.

Owns the pairing. Pairing functions and constants wrongly costs only size, since whoever refers
to a wrongly paired one then differs; pairing writable data wrongly would hand one
variable's live value to another, so where that is not certain the pair is `ambiguous`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from naht.build.native.debug_info import DebugInfo
from naht.build.native.meaning import Meanings, cold_parts
from naht.build.native.names import cold_parent, family, is_numbered, stem
from naht.build.native.relocatable import Definition, Named, Relocatable
from naht.elf import constants as c


@dataclass(frozen=True)
class Side:
    """One object with its debug information, which is read only when a static local needs it."""

    view: Relocatable
    debug: DebugInfo

    @cached_property
    def users(self) -> dict[str, frozenset[str]]:
        """Local datum → stems of the functions that refer to it."""
        users: dict[str, set[str]] = {}
        for function in self.view.functions.values():
            for reference in self.view.references_of(function):
                if (
                    isinstance(reference.target, Named)
                    and reference.target.symbol.type != c.STT_FUNC
                ):
                    named = reference.target.symbol.name
                    users.setdefault(named, set()).add(stem(function.name))
        return {name: frozenset(stems) for name, stems in users.items()}


@dataclass(frozen=True)
class Matching:
    """`old_of`: new local symbol → old local symbol. `ambiguous`: new writable data that may be
    one of several old ones."""

    old_of: dict[str, str]
    ambiguous: tuple[str, ...]

    def old_identity(self, name: str) -> str:
        return name

    def new_identity(self, name: str) -> str:
        """The old name of the same thing; a new thing gets a name that no symbol has."""
        return self.old_of.get(name, f"\0new {name}")


def match(old: Side, new: Side) -> Matching:
    if identical(old.view, new.view):
        local = [*new.view.functions.values(), *new.view.data.values()]
        return Matching({d.name: d.name for d in local if d.is_local}, ())
    functions = {**_changed_linkage(old.view, new.view), **_match_functions(old.view, new.view)}
    constants = _match_constants(old, new)
    variables, ambiguous = _match_variables(old, new)
    cold = _match_cold(old.view, new.view, functions)
    return Matching({**functions, **cold, **constants, **variables}, ambiguous)


def identical(old: Relocatable, new: Relocatable) -> bool:
    """The same symbols, code, data and relocations, whatever the debug information says."""
    return old.elf.symbols == new.elf.symbols and _loaded(old) == _loaded(new)


def _loaded(view: Relocatable) -> list[tuple[object, ...]]:
    return [
        (section.index, section.name, section.type, section.flags, section.size,
         view.elf.section_bytes(section), view.elf.relocations_by_section.get(section.index))
        for section in view.elf.sections
        if section.flags & c.SHF_ALLOC
    ]  # fmt: skip


def _match_functions(old: Relocatable, new: Relocatable) -> dict[str, str]:
    olds = _families(_local_functions(old))
    news = _families(_local_functions(new))
    old_meaning, new_meaning = _function_meaning(old), _function_meaning(new)
    pairs: dict[str, str] = {}
    for key in olds.keys() & news.keys():
        pairs.update(_pair(olds[key], news[key], old_meaning, new_meaning))
    return pairs


def _changed_linkage(old: Relocatable, new: Relocatable) -> dict[str, str]:
    """Functions that were global and are static now: still the same function."""
    return {
        d.name: d.name
        for d in _local_functions(new)
        if d.name in old.functions and not old.functions[d.name].is_local
    }


def _match_constants(old: Side, new: Side) -> dict[str, str]:
    olds = _families(_local_data(old.view, True))
    news = _families(_local_data(new.view, True))
    old_meaning, new_meaning = Meanings(old.view, family).datum, Meanings(new.view, family).datum
    pairs: dict[str, str] = {}
    for key in olds.keys() & news.keys():
        found = _pair(olds[key], news[key], old_meaning, new_meaning)
        pairs |= {
            after: before
            for after, before in found.items()
            if old_meaning(before) == new_meaning(after)
            or not _are_strangers(old, before, new, after)
        }
    return pairs


def _are_strangers(old: Side, before: str, new: Side, after: str) -> bool:
    """Static locals of different functions, such as their `__func__`: neither became the other."""
    if not (is_numbered(before) and is_numbered(after)):
        return False
    olds, news = old.users.get(before, frozenset()), new.users.get(after, frozenset())
    return bool(olds and news) and not olds & news


def _function_meaning(view: Relocatable) -> Callable[[str], Hashable]:
    meanings, parts = Meanings(view, family), cold_parts(view)
    return lambda name: meanings.function(name, parts.get(name, ()))


def _pair(
    olds: list[str],
    news: list[str],
    old_meaning: Callable[[str], Hashable],
    new_meaning: Callable[[str], Hashable],
) -> dict[str, str]:
    """Within one family: equals first, then equal names, then the order of the numbers."""
    if len(olds) == len(news) == 1:
        return {news[0]: olds[0]}
    pairs: dict[str, str] = {}
    by_meaning: dict[Hashable, list[str]] = defaultdict(list)
    for name in olds:
        by_meaning[old_meaning(name)].append(name)
    for name in news:
        if same := by_meaning[new_meaning(name)]:
            pairs[name] = same.pop(same.index(name) if name in same else 0)
    left_old = [n for n in olds if n not in pairs.values()]
    left_new = [n for n in news if n not in pairs]
    for name in [n for n in left_new if n in left_old]:
        pairs[name] = name
        left_old.remove(name)
        left_new.remove(name)
    return {**pairs, **dict(zip(left_new, left_old, strict=False))}


def _match_cold(old: Relocatable, new: Relocatable, functions: dict[str, str]) -> dict[str, str]:
    """A split-off part follows its function, whether that is local or global."""
    old_parts, new_parts = cold_parts(old), cold_parts(new)
    pairs: dict[str, str] = {}
    for parent, parts in new_parts.items():
        old_parent = functions.get(parent, parent)
        pairs.update(zip(parts, old_parts.get(old_parent, ()), strict=False))
    return pairs


def _match_variables(old: Side, new: Side) -> tuple[dict[str, str], tuple[str, ...]]:
    """Writable data: file-scope names as they are, static locals within their function."""
    old_data, new_data = _local_data(old.view, False), _local_data(new.view, False)
    plain_old = {d.name for d in old_data if "." not in d.name}
    plain_new = {d.name for d in new_data if "." not in d.name}
    pairs = {name: name for name in plain_new & plain_old}
    pairs |= _sole_pairs(old, new, old_data, new_data)
    ambiguous: list[str] = []
    olds = _scoped(old, [d for d in old_data if d.name not in pairs.values()])
    news = _scoped(new, [d for d in new_data if d.name not in pairs])
    for key, names in news.items():
        candidates = olds.pop(key, [])
        if len(candidates) == len(names):
            pairs.update(zip(names, candidates, strict=True))
        elif candidates:
            ambiguous += names
    ambiguous += _perhaps_moved(
        olds, [n for names in news.values() for n in names if n not in pairs]
    )
    return pairs, tuple(dict.fromkeys(ambiguous))


def _sole_pairs(
    old: Side, new: Side, old_data: list[Definition], new_data: list[Definition]
) -> dict[str, str]:
    """The only static locals of a name, used by the same functions: no need to ask the debug
    information, which takes long to read."""
    olds, news = _by_variable(old_data), _by_variable(new_data)
    pairs = {}
    for variable in olds.keys() & news.keys():
        if len(olds[variable]) == len(news[variable]) == 1:
            before, after = olds[variable][0], news[variable][0]
            users = old.users.get(before)
            if users and users == new.users.get(after):
                pairs[after] = before
    return pairs


def _by_variable(data: list[Definition]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for datum in data:
        found.setdefault(_variable(datum.name), []).append(datum.name)
    return found


def _perhaps_moved(olds: dict[tuple[str, str], list[str]], news: list[str]) -> Iterable[str]:
    """A static that left one function and appeared in another may be the same variable."""
    gone = {variable for _, variable in olds}
    return [name for name in news if _variable(name) in gone]


def _scoped(side: Side, data: list[Definition]) -> dict[tuple[str, str], list[str]]:
    """(function, variable) → symbols, in order of their numbers."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in sorted((d.name for d in data), key=_numeric_order):
        function, _, variable = stem(name).rpartition(".")  # Clang says `function.variable`
        scope = function or _scope(side, name)
        found.setdefault((scope, variable), []).append(name)
    return found


def _scope(side: Side, name: str) -> str:
    """The function of a static local that only says `variable.7`: GCC's."""
    if name in side.debug.static_scopes:
        return side.debug.static_scopes[name]
    return " ".join(sorted(side.users.get(name, ())))


def _variable(name: str) -> str:
    return stem(name).rpartition(".")[2]


def _local_functions(view: Relocatable) -> list[Definition]:
    return [d for d in view.functions.values() if d.is_local and cold_parent(d.name) is None]


def _local_data(view: Relocatable, read_only: bool) -> list[Definition]:
    return [d for d in view.data.values() if d.is_local and is_read_only(view, d) == read_only]


def is_read_only(view: Relocatable, datum: Definition) -> bool:
    return datum.section != c.SHN_COMMON and view.is_read_only(datum.section)


def _families(definitions: list[Definition]) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for name in sorted((d.name for d in definitions), key=_numeric_order):
        families.setdefault(family(name), []).append(name)
    return families


def _numeric_order(name: str) -> tuple[object, ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("."))
