"""What the running object offers to code that joins it: exported symbols, PLT stubs, GOT slots,
TLS slots, segments. All read from the linked file itself; a stripped file has all of it.

Addresses are link-time virtual addresses. It decides nothing: see `bindings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from iced_x86 import Decoder, Mnemonic

from naht.elf import constants as c
from naht.elf.file import ElfFile, Relocation, Section, Segment, Symbol
from naht.elf.versions import SymbolVersion, symbol_versions
from naht.errors import BuildRefusedError

DT_SYMBOLIC, DT_FLAGS, DT_FLAGS_1 = 16, 30, 0x6FFFFFFB
DF_SYMBOLIC, DF_1_PIE = 0x2, 0x08000000
ENDBR64 = b"\xf3\x0f\x1e\xfa"
DEFAULT_BINDINGS = (c.STB_GLOBAL, c.STB_WEAK, 10)  # 10: STB_GNU_UNIQUE


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that the dynamic linker fills: `type` is that of the dynamic relocation."""

    address: int
    type: int
    symbol: str  # "" for a relocation without symbol
    version: str
    addend: int


class RunningObject:
    """The binary that runs, and what can be reached in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.elf = ElfFile(path.read_bytes())
        if self.elf.type not in (c.ET_EXEC, c.ET_DYN) or not self.elf.sections:
            raise BuildRefusedError(
                "not-linked",
                f"{path.name} is not a linked object with section headers.",
                "Give the executable or library as the build or the package made it.",
            )

    @property
    def is_fixed(self) -> bool:
        """Linked to run at its own addresses (not position independent)."""
        return bool(self.elf.type == c.ET_EXEC)

    @cached_property
    def kind(self) -> Literal["executable", "library"]:
        pie = self._dynamic.get(DT_FLAGS_1, 0) & DF_1_PIE
        interpreted = any(s.type == c.PT_INTERP for s in self.elf.segments)
        named = c.DT_SONAME in self._dynamic  # libc.so.6 has an interpreter, and a SONAME
        return "executable" if self.is_fixed or pie or (interpreted and not named) else "library"

    @cached_property
    def name(self) -> str:
        strings = self.elf.section_by_name.get(".dynstr")
        offset = self._dynamic.get(c.DT_SONAME)
        if strings is not None and offset is not None:
            raw = self.elf.section_bytes(strings)[offset : offset + 4096]
            return raw.split(b"\0")[0].decode("utf-8", "replace") or self.path.name
        return self.path.name

    def is_interposable(self, name: str) -> bool:
        """Whether another object may supply this symbol although this one defines it."""
        symbol = self.exports.get(name)
        symbolic = DT_SYMBOLIC in self._dynamic or self._dynamic.get(DT_FLAGS, 0) & DF_SYMBOLIC
        return (
            symbol is not None
            and self.kind == "library"
            and symbol.visibility == c.STV_DEFAULT
            and not symbolic
        )

    @cached_property
    def exports(self) -> dict[str, Symbol]:
        """Dynamic symbols that this object defines (COPY'd data too), in their default version."""
        found: dict[str, Symbol] = {}
        for symbol in self.elf.dynamic_symbols:
            exported = symbol.section != c.SHN_UNDEF and symbol.binding in DEFAULT_BINDINGS
            if exported and (symbol.name not in found or not self._versions[symbol.index].hidden):
                found[symbol.name] = symbol
        return found

    @cached_property
    def canonical_stubs(self) -> dict[str, int]:
        """Imported functions whose address, in this whole process, is a PLT stub of this object:
        undefined symbols with a value (psABI 1.0, "Function addresses")."""
        return {
            s.name: s.value
            for s in self.elf.dynamic_symbols
            if s.section == c.SHN_UNDEF and s.value and s.type != c.STT_TLS
        }

    @cached_property
    def imports(self) -> dict[str, tuple[str, bool]]:
        """Undefined dynamic symbols: name → (version, weak)."""
        return {
            s.name: (self._versions[s.index].name, s.binding == c.STB_WEAK)
            for s in self.elf.dynamic_symbols
            if s.section == c.SHN_UNDEF and s.name
        }

    def version_of_export(self, name: str) -> str:
        symbol = self.exports.get(name)
        return self._versions[symbol.index].name if symbol else ""

    @cached_property
    def _versions(self) -> tuple[SymbolVersion, ...]:
        return symbol_versions(self.elf)

    # --- slots and stubs -----------------------------------------------------------------

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        found = []
        for section in self.elf.sections:
            if section.type == c.SHT_RELA and section.flags & c.SHF_ALLOC:
                found += [self._slot(r) for r in self.elf.relocations(section)]
        return tuple(found)

    def _slot(self, r: Relocation) -> Slot:
        symbols = self.elf.dynamic_symbols
        if 0 < r.symbol < len(symbols):
            name, version = symbols[r.symbol].name, self._versions[r.symbol].name
            return Slot(r.offset, r.type, name, version, r.addend)
        return Slot(r.offset, r.type, "", "", r.addend)

    @cached_property
    def _slots_by_name(self) -> dict[tuple[int, str], Slot]:
        return {(s.type, s.symbol): s for s in reversed(self.slots) if s.symbol and not s.addend}

    def named_slot(self, relocation_type: int, name: str) -> Slot | None:
        return self._slots_by_name.get((relocation_type, name))

    def nameless_slot(self, relocation_type: int, addend: int) -> Slot | None:
        return self._nameless.get((relocation_type, addend))

    @cached_property
    def _nameless(self) -> dict[tuple[int, int], Slot]:
        return {(s.type, s.addend): s for s in reversed(self.slots) if not s.symbol}

    @cached_property
    def _slot_at(self) -> dict[int, Slot]:
        return {s.address: s for s in self.slots}

    def stub(self, name: str) -> int | None:
        """A PLT stub that jumps to `name`."""
        return self._stubs.get(name)

    def ifunc_stub(self, resolver: int) -> int | None:
        """The PLT stub of a function that this object chooses by the resolver at that address."""
        return self._ifunc_stubs.get(resolver)

    def stub_version(self, name: str) -> str:
        for kind in (c.R_X86_64_JUMP_SLOT, c.R_X86_64_GLOB_DAT):
            if slot := self.named_slot(kind, name):
                return slot.version
        return ""

    @cached_property
    def _stubs(self) -> dict[str, int]:
        kinds = (c.R_X86_64_JUMP_SLOT, c.R_X86_64_GLOB_DAT)
        return {
            slot.symbol: stub
            for stub, slot in reversed(self._stub_slots)
            if slot.symbol and slot.type in kinds and not slot.addend
        }

    @cached_property
    def _ifunc_stubs(self) -> dict[int, int]:
        return {
            slot.addend: stub
            for stub, slot in reversed(self._stub_slots)
            if slot.type == c.R_X86_64_IRELATIVE
        }

    @cached_property
    def _stub_slots(self) -> tuple[tuple[int, Slot], ...]:
        """PLT sections have several forms (lazy, IBT, bnd, -z now): what tells a stub is its
        `jmp *slot(%rip)`, after an endbr64 or not."""
        found = []
        for section in self.elf.sections:
            if section.flags & c.SHF_EXECINSTR and section.name.split(".")[1:2] in (
                ["plt"], ["iplt"]
            ):  # fmt: skip
                found += self._stubs_in(section)
        return tuple(found)

    def _stubs_in(self, section: Section) -> list[tuple[int, Slot]]:
        code = self.elf.section_bytes(section)
        found = []
        for instruction in Decoder(64, code, ip=section.address):
            if instruction.mnemonic == Mnemonic.JMP and instruction.is_ip_rel_memory_operand:
                start = instruction.ip
                at = start - section.address
                if code[max(at - 4, 0) : at] == ENDBR64:
                    start -= 4
                if slot := self._slot_at.get(instruction.ip_rel_memory_address):
                    found.append((start, slot))
        return found

    # --- places --------------------------------------------------------------------------

    @cached_property
    def tls_segment(self) -> Segment | None:
        return next((s for s in self.elf.segments if s.type == c.PT_TLS), None)

    def section_at(self, address: int) -> Section | None:
        for section in self.elf.sections:
            mapped = section.flags & c.SHF_ALLOC and not section.flags & c.SHF_TLS
            if mapped and section.address <= address < section.address + section.size:
                return section
        return None

    def read(self, address: int, size: int) -> bytes:
        return self.elf.read_address(address, size)

    @cached_property
    def _dynamic(self) -> dict[int, int]:
        table = self.elf.section_by_name.get(".dynamic")
        if table is None or table.type != c.SHT_DYNAMIC:
            return {}
        raw = self.elf.section_bytes(table)
        entries: dict[int, int] = {}
        for at in range(0, len(raw) - 15, 16):
            tag = int.from_bytes(raw[at : at + 8], "little")
            if tag == c.DT_NULL:
                break
            entries.setdefault(tag, int.from_bytes(raw[at + 8 : at + 16], "little"))
        return entries
