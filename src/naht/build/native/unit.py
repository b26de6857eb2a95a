"""Compares one translation unit's old and new objects: which functions and constants differ.

Owns the question "does this code mean the same?" for a unit, line numbers and build paths left
out. It doesn't decide whether a difference may be patched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.compile_pair import Unit, UnitPair
from naht.build.native.debug_info import DebugInfo
from naht.build.native.matching import Matching, Side, identical, is_read_only, match
from naht.build.native.meaning import Meaning, Meanings, cold_parts, symbols_in
from naht.build.native.names import cold_parent
from naht.build.native.relocatable import Definition, Named, Relocatable
from naht.elf import constants as c


@dataclass(frozen=True, slots=True)
class FunctionPair:
    """The same function on both sides; the names may differ by a clone's number."""

    old: str
    new: str
    old_cold: tuple[str, ...]
    cold: tuple[str, ...]


class Comparison:
    """Two objects side by side. Each question is answered once."""

    def __init__(
        self, old: Side, new: Side, old_path: Callable[[bytes], bytes] = bytes,
        new_path: Callable[[bytes], bytes] = bytes,
    ) -> None:  # fmt: skip
        self.old, self.new = old, new
        self._old_path, self._new_path = old_path, new_path

    @cached_property
    def identical(self) -> bool:
        return identical(self.old.view, self.new.view)

    @cached_property
    def matching(self) -> Matching:
        return match(self.old, self.new)

    @cached_property
    def old_meanings(self) -> Meanings:
        return Meanings(self.old.view, self.matching.old_identity, self._old_path)

    @cached_property
    def new_meanings(self) -> Meanings:
        return Meanings(self.new.view, self.matching.new_identity, self._new_path)

    def old_function_of(self, new: Definition) -> str:
        """The old function of the same identity, "" for a new function."""
        if new.is_local:
            return self.matching.old_of.get(new.name, "")
        return new.name if new.name in self.old.view.functions else ""

    def old_datum_of(self, new: Definition) -> str:
        if new.is_local:
            return self.matching.old_of.get(new.name, "")
        return new.name if new.name in self.old.view.data else ""

    @cached_property
    def function_pairs(self) -> tuple[FunctionPair, ...]:
        old_cold, new_cold = cold_parts(self.old.view), cold_parts(self.new.view)
        pairs = []
        for definition in whole_functions(self.new.view):
            if old := self.old_function_of(definition):
                name = definition.name
                pairs.append(FunctionPair(old, name, old_cold.get(old, ()), new_cold.get(name, ())))
        return tuple(pairs)

    def meanings_of(self, pair: FunctionPair) -> tuple[Meaning, Meaning]:
        return (
            self.old_meanings.function(pair.old, pair.old_cold),
            self.new_meanings.function(pair.new, pair.cold),
        )

    @cached_property
    def different_functions(self) -> frozenset[str]:
        """New names of functions whose own code differs."""
        if self.identical:
            return frozenset()
        return frozenset(p.new for p in self.function_pairs if self._differs(p))

    def _differs(self, pair: FunctionPair) -> bool:
        old, new = self.meanings_of(pair)
        was_local = self.old.view.functions[pair.old].is_local
        return old != new or was_local != self.new.view.functions[pair.new].is_local

    def same_datum(self, old: str, new: str) -> bool:
        return self.old_meanings.datum(old) == self.new_meanings.datum(new)

    def same_references(self, pair: FunctionPair) -> bool:
        return list(self.old_meanings.references(pair.old, pair.old_cold)) == list(
            self.new_meanings.references(pair.new, pair.cold)
        )


class UnitComparison:
    """A unit in its sectioned form, with the line-neutral form to tell noise from change."""

    def __init__(self, pair: UnitPair) -> None:
        self.pair = pair

    @cached_property
    def exact(self) -> Comparison:
        return Comparison(
            side(self.pair.old, "sectioned", self.pair), side(self.pair.new, "sectioned", self.pair)
        )

    @cached_property
    def neutral(self) -> Comparison:
        """With lines and times fixed where the unit could be compiled so; always without paths."""
        return self._neutral_form("line_neutral")

    @cached_property
    def counted(self) -> Comparison:
        """With the same, but lines counted by use."""
        return self._neutral_form("line_counted")

    def _neutral_form(self, form: str) -> Comparison:
        exact = self.exact
        old, new = exact.old, exact.new
        if all(unit and getattr(unit, form) for unit in (self.pair.old, self.pair.new)):
            old, new = side(self.pair.old, form, self.pair), side(self.pair.new, form, self.pair)
        old_root, new_root = differing_roots(
            exact.old.debug.compilation_directory, exact.new.debug.compilation_directory
        )
        return Comparison(old, new, path_remover(old_root), path_remover(new_root))

    @cached_property
    def dropped(self) -> frozenset[str]:
        """Functions that differ by line numbers, times or build paths alone."""
        return frozenset(
            p.new
            for p in self.exact.function_pairs
            if p.new in self.exact.different_functions and self._is_noise(p)
        )

    def _is_noise(self, pair: FunctionPair) -> bool:
        """One pair of neutral forms is equal, and even the exact ones refer to the same things: a
        neutral form's clones are numbered and matched apart from the exact form's."""
        return self.exact.same_references(pair) and (
            _is_equal(self.neutral, pair) or _is_equal(self.counted, pair)
        )

    @cached_property
    def different_functions(self) -> frozenset[str]:
        return self.exact.different_functions - self.dropped

    def is_same_datum(self, old: str, new: str) -> bool:
        if self.exact.same_datum(old, new):
            return True
        neutral = self.neutral
        return (
            old in neutral.old.view.data
            and new in neutral.new.view.data
            and neutral.same_datum(old, new)
        )

    @cached_property
    def handed_out(self) -> frozenset[str]:
        """Old functions whose address the old code or data stores somewhere."""
        view = self.exact.old.view
        return frozenset(
            reference.target.symbol.name
            for section in view.elf.sections
            if section.flags & c.SHF_ALLOC and section.name != ".eh_frame"
            for reference in view.references(section.index)
            if isinstance(reference.target, Named)
            and reference.use != "branch"
            and reference.target.offset == 0
        )

    @cached_property
    def constant_pairs(self) -> tuple[tuple[str, str], ...]:
        """(old, new) of named read-only data."""
        view = self.exact.new.view
        pairs = ((self.exact.old_datum_of(d), d) for d in view.data.values())
        return tuple((old, d.name) for old, d in pairs if old and is_read_only(view, d))

    @cached_property
    def different_constants(self) -> frozenset[str]:
        """Identities (old names) of constants whose own content differs."""
        if self.exact.identical:
            return frozenset()
        return frozenset(
            old for old, new in self.constant_pairs if not self.is_same_datum(old, new)
        )

    def constants_using(self, identities: frozenset[str]) -> frozenset[str]:
        """Identities of constants that refer to any of `identities`."""
        if not identities:
            return frozenset()
        meanings = self.exact.new_meanings
        return frozenset(
            old
            for old, new in self.constant_pairs
            if identities & set(symbols_in(meanings.datum(new)))
        )

    def functions_using(self, identities: frozenset[str]) -> dict[str, str]:
        """New name of each function that refers to any of `identities` → one of those."""
        users: dict[str, str] = {}
        if not identities:
            return users
        for pair in self.exact.function_pairs:
            meaning = self.exact.new_meanings.function(pair.new, pair.cold)
            if used := identities & set(symbols_in(meaning)):
                users[pair.new] = min(used)
        return users


def _is_equal(neutral: Comparison, pair: FunctionPair) -> bool:
    known = {p.new for p in neutral.function_pairs if p.old == pair.old}
    return pair.new in known and pair.new not in neutral.different_functions


def side(unit: Unit | None, form: str, pair: UnitPair) -> Side:
    path = getattr(unit, form) if unit else None
    view = Relocatable.load(path) if path else Relocatable.empty(Path(pair.source))
    return Side(view, DebugInfo(view))


def whole_functions(view: Relocatable) -> list[Definition]:
    """Functions without their split-off parts."""
    return [d for d in view.functions.values() if cold_parent(d.name) not in view.functions]


def differing_roots(old: str, new: str) -> tuple[bytes, bytes]:
    """The two build directories without the tail that they share."""
    olds, news = old.split("/"), new.split("/")
    while olds and news and olds[-1] == news[-1]:
        olds.pop()
        news.pop()
    return "/".join(olds).encode(), "/".join(news).encode()


def path_remover(root: bytes) -> Callable[[bytes], bytes]:
    def remove(literal: bytes) -> bytes:
        return literal.replace(root + b"/", b"") if root else literal

    return remove
