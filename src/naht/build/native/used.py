"""Lists what of the old object a hotpatch replaces or refers to, with addresses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from naht.build.native.changes import IncludedFunction
from naht.build.native.meaning import symbols_in
from naht.build.native.old_code import OldCode
from naht.build.native.reach import NEW, Inclusion
from naht.build.native.running import Used
from naht.build.native.unit import UnitComparison
from naht.elf import constants as c
from naht.elf.file import Symbol


class UsedThings:
    def __init__(self, included: Inclusion, old: OldCode) -> None:
        self.included, self.old = included, old

    def all(self) -> frozenset[Used]:
        return frozenset(
            used
            for unit in self.included.touched_units()
            for function in self.included.in_order()
            if function.unit is unit.pair
            for used in (*self._replaced(unit, function), *self._referred(unit, function))
        )

    def _replaced(self, unit: UnitComparison, function: IncludedFunction) -> Iterator[Used]:
        names = (function.old_name, *function.old_cold) if function.change == "changed" else ()
        for name in names:
            yield from self._in_unit(unit, name)

    def _referred(self, unit: UnitComparison, function: IncludedFunction) -> Iterator[Used]:
        meaning = unit.exact.new_meanings.function(function.name, function.cold)
        for identity in sorted(set(symbols_in(meaning))):
            if not identity.startswith(NEW):
                yield from self._in_unit(unit, identity) or self._global(identity)

    def _in_unit(self, unit: UnitComparison, name: str) -> list[Used]:
        plain = self.old.plain(unit)
        definition = plain.functions.get(name) or plain.data.get(name)
        address = self.old.address(unit, name)
        if definition is None or address is None or definition.symbol.type == c.STT_TLS:
            return []
        return [Used(name, address, definition.size)]

    def _global(self, name: str) -> list[Used]:
        symbol = self._linked.get(name)
        return [Used(name, symbol.value, symbol.size)] if symbol else []

    @cached_property
    def _linked(self) -> dict[str, Symbol]:
        elf = self.old.link.elf
        ordinary = (c.STT_FUNC, c.STT_OBJECT, c.STT_GNU_IFUNC)
        return {
            symbol.name: symbol
            for symbol in (*elf.dynamic_symbols, *elf.symbols)
            if symbol.type in ordinary
            and symbol.binding != c.STB_LOCAL
            and symbol.section not in (c.SHN_UNDEF, c.SHN_ABS)
        }
