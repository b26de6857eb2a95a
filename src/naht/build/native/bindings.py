"""Collects what the image's undefined symbols mean in the process; one symbol per meaning."""

from __future__ import annotations

from naht.build.native.writer import Draft
from naht.hotpatch.manifest import Binding


class Bindings:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._by_meaning: dict[tuple[str, int, str, str], Binding] = {}

    def object(self, label: str, offset: int) -> str:
        """The symbol for a place in the target object; `label` names it where the name is free."""
        return self._symbol(label, ("object", offset, "", ""), weak=False)

    def import_(self, name: str, version: str, *, weak: bool) -> str:
        return self._symbol(name, ("import", 0, name, version), weak=weak)

    def tls_module(self) -> str:
        return self._symbol("naht.tls_module", ("tls_module", 0, "", ""), weak=False)

    def _symbol(self, label: str, meaning: tuple[str, int, str, str], *, weak: bool) -> str:
        if meaning not in self._by_meaning:
            symbol = self._draft.declare(self._draft.free_name(label))
            self._by_meaning[meaning] = _binding(symbol, meaning, weak=weak)
        known = self._by_meaning[meaning]
        if known.weak and not weak:  # one strong use makes the symbol a must
            self._by_meaning[meaning] = _binding(known.symbol, meaning, weak=False)
        return known.symbol

    def all(self) -> tuple[Binding, ...]:
        return tuple(sorted(self._by_meaning.values(), key=lambda b: b.symbol))


def _binding(symbol: str, meaning: tuple[str, int, str, str], *, weak: bool) -> Binding:
    kind, offset, name, version = meaning
    if kind == "object":
        return Binding(symbol=symbol, kind="object", offset=offset)
    if kind == "import":
        return Binding(symbol=symbol, kind="import", name=name, version=version, weak=weak)
    return Binding(symbol=symbol, kind="tls_module")
