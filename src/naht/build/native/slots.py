"""The image's own pointer slots (`.naht.got`) and call stubs (`.naht.plt`), one per target."""

from __future__ import annotations

from naht.build.native.writer import Draft, DraftRelocation, DraftSection
from naht.elf import constants as c

_JUMP_THROUGH = b"\xff\x25"  # jmp *slot(%rip)


class Slots:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._made: dict[tuple[str, str, int], str] = {}

    def pointer(self, symbol: str, addend: int = 0) -> str:
        """A slot that holds the address of `symbol`."""
        key = ("pointer", symbol, addend)
        if key not in self._made:
            self._made[key] = self._slot(f"naht.slot.{symbol}", bytes(8), {0: (symbol, addend)})
        return self._made[key]

    def constant(self, label: str, value: int) -> str:
        key = ("constant", "", value)
        if key not in self._made:
            raw = (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
            self._made[key] = self._slot(f"naht.constant.{label}", raw, {})
        return self._made[key]

    def tls_pair(self, label: str, module: str, offset: int) -> str:
        """What __tls_get_addr takes: a module id and an offset in that module's TLS block."""
        key = ("pair", module, offset)
        if key not in self._made:
            raw = bytes(8) + (offset & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
            self._made[key] = self._slot(f"naht.tls.{label}", raw, {0: (module, 0)})
        return self._made[key]

    def stub(self, label: str, slot: str) -> str:
        """A stub that jumps to what `slot` holds: a slot of the image or of the object."""
        key = ("stub", slot, 0)
        if key not in self._made:
            section = self._section(".naht.plt", "code")
            at = section.append(_JUMP_THROUGH + bytes(4) + b"\x66\x90", 8)
            section.relocations.append(DraftRelocation(at + 2, c.R_X86_64_PC32, slot, -4))
            name = self._draft.free_name(f"naht.plt.{label}")
            self._made[key] = self._draft.define(name, section.name, at, 8, is_function=True)
        return self._made[key]

    def _slot(self, label: str, raw: bytes, pointers: dict[int, tuple[str, int]]) -> str:
        section = self._section(".naht.got", "constant")
        at = section.append(raw, 8)
        for offset, (symbol, addend) in pointers.items():
            section.relocations.append(DraftRelocation(at + offset, c.R_X86_64_64, symbol, addend))
        return self._draft.define(self._draft.free_name(label), section.name, at, len(raw))

    def _section(self, name: str, kind: str) -> DraftSection:
        if name not in self._draft.sections:
            self._draft.add_section(DraftSection(name, "code" if kind == "code" else "constant", 8))
        return self._draft.sections[name]
