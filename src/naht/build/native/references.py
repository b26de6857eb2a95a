"""Turns each relocation of copied code and data into one that the engine knows, or a constant.

It also notices which addresses of the image the new code hands out (`Escapes`). Relocations that
the format does not have, and whose effect can't be had otherwise, are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from naht.build.native.closure import Chunk, Closure
from naht.build.native.far_data import FarData
from naht.build.native.linking import Linking, Thing
from naht.build.native.literals import Literal, OldLiterals, literal_of
from naht.build.native.names import cold_parent
from naht.build.native.relocatable import Named, Place, Reference
from naht.build.native.tls import TLS_TYPES, Tls
from naht.build.native.writer import DraftRelocation
from naht.elf import constants as c
from naht.elf.file import Symbol
from naht.errors import BuildRefusedError
from naht.hotpatch.manifest import Escape

_PLAIN = frozenset(
    {c.R_X86_64_64, c.R_X86_64_PC32, c.R_X86_64_PLT32, c.R_X86_64_PC64, c.R_X86_64_32,
     c.R_X86_64_32S}
)  # fmt: skip
_THROUGH_SLOT = frozenset({c.R_X86_64_GOTPCREL, c.R_X86_64_GOTPCRELX, c.R_X86_64_REX_GOTPCRELX})
_NARROW = frozenset({c.R_X86_64_32, c.R_X86_64_32S})
_R_X86_64_GOTPC32 = 26
_INDIRECT = (b"\xff\x15", b"\xff\x25")  # call and jmp through a RIP-relative slot


@dataclass
class Escapes:
    """Addresses of the image that the program may keep after its code has gone."""

    code: bool = False
    data: bool = False

    @property
    def worst(self) -> Escape:
        return "code" if self.code else "data" if self.data else "none"


class References:
    def __init__(self, closure: Closure, linking: Linking, tls: Tls) -> None:
        self.closure = closure
        self.linking = linking
        self.tls = tls
        self.far = FarData(closure.draft)
        self.literals = OldLiterals(linking.old)
        self.escapes = Escapes()

    def settle(self, chunk: Chunk) -> None:
        """Makes every field of a chunk right in its copy."""
        if chunk.section == c.SHN_COMMON:
            return
        file = self.closure.build.file(chunk.unit)
        for reference in file.references_in(chunk.section, chunk.start, chunk.end):
            at = reference.field - chunk.start
            chunk.draft.content[at : at + reference.size] = bytes(reference.size)
            if reference.type in TLS_TYPES:
                self._settle_tls(chunk, reference, at)
            elif reference.type != c.R_X86_64_NONE:
                self._settle_ordinary(chunk, reference, at)

    def _settle_ordinary(self, chunk: Chunk, reference: Reference, at: int) -> None:
        if self._reaches_far(chunk, reference):
            return
        symbol, addend, kind = self._resolve(chunk, reference)
        chunk.draft.relocations.append(
            DraftRelocation(at, kind, symbol, addend - reference.trailing)
        )

    def _reaches_far(self, chunk: Chunk, reference: Reference) -> bool:
        """Code that names a datum of another object directly, as executables may."""
        target = reference.target
        direct = reference.type in _NARROW or reference.type == c.R_X86_64_PC32
        if not direct or reference.use in ("branch", "data") or not isinstance(target, Named):
            return False
        thing = self.linking.thing(chunk.unit, target.symbol, called=False)
        if not self.linking.is_foreign(thing):
            return False
        self.far.reach(chunk, reference, self.linking.foreign_slot(thing), target.offset)
        return True

    def _settle_tls(self, chunk: Chunk, reference: Reference, at: int) -> None:
        answer = self.tls.resolve(chunk, reference)
        if isinstance(answer, bytes):
            chunk.draft.content[at : at + len(answer)] = answer
        elif isinstance(answer, str):
            chunk.draft.relocations.append(
                DraftRelocation(at, c.R_X86_64_PC32, answer, -reference.trailing)
            )

    def _resolve(self, chunk: Chunk, reference: Reference) -> tuple[str, int, int]:
        """(symbol, offset from it, relocation type)"""
        if reference.type in _THROUGH_SLOT:
            return self._through_slot(chunk, reference), 0, c.R_X86_64_PC32
        if reference.type == _R_X86_64_GOTPC32:
            return self._global_offset_table(chunk, reference)
        if reference.type not in _PLAIN:
            raise _unsupported(chunk, reference)
        if reference.type in _NARROW and not self.linking.running.is_fixed:
            raise BuildRefusedError(
                "absolute-address",
                "The new code holds a 32-bit address, but the running object may lie anywhere.",
                "Build the new tree with the flags of the old one (-fPIC or -fPIE).",
                where=chunk.where,
            )
        symbol, offset = self._destination(chunk, reference)
        return symbol, offset, reference.type

    def _through_slot(self, chunk: Chunk, reference: Reference) -> str:
        target = reference.target
        if not isinstance(target, Named) or target.offset:
            raise _unsupported(chunk, reference)
        at = reference.field - chunk.start
        jump = bytes(chunk.draft.content[max(at - 2, 0) : at]) in _INDIRECT
        thing = self.linking.thing(chunk.unit, target.symbol, called=jump)
        slot, code, data = self.linking.slot(thing, chunk.where, jump=jump)
        self.escapes.code |= code
        self.escapes.data |= data
        return slot

    def _global_offset_table(self, chunk: Chunk, reference: Reference) -> tuple[str, int, int]:
        table = self.linking.old.global_("_GLOBAL_OFFSET_TABLE_")
        if table is None or not isinstance(reference.target, Named):
            raise _unsupported(chunk, reference)
        symbol = self.linking.bindings.object("_GLOBAL_OFFSET_TABLE_", table.address)
        return symbol, reference.target.offset, c.R_X86_64_PC32

    def _destination(self, chunk: Chunk, reference: Reference) -> tuple[str, int]:
        file = self.closure.build.file(chunk.unit)
        if found := literal_of(file, reference.relocation):
            return self._literal(chunk, reference, *found)
        target = reference.target
        if isinstance(target, Named):
            thing = self.linking.thing(chunk.unit, target.symbol, called=reference.use == "branch")
            handle = self._function if thing.is_function else self._datum
            return handle(chunk, reference, thing, target.offset)
        if reference.use == "data" and reference.pc_relative:
            return self._relative_entry(chunk, reference)
        if isinstance(target, Place):
            return self._place(chunk, reference, target.section, target.offset)
        raise _unsupported(chunk, reference)

    def _relative_entry(self, chunk: Chunk, reference: Reference) -> tuple[str, int]:
        """An entry of a table of relative addresses is right only with its own symbol and addend,
        as only the table's reader knows from where it counts."""
        file = self.closure.build.file(chunk.unit)
        anchor = file.elf.symbols[reference.relocation.symbol]
        if pointer := self._exception_type(chunk, anchor, reference.relocation.addend):
            return pointer, 0
        self.escapes.data = True
        copied = self.closure.need_section(chunk.unit, anchor.section)
        return copied.symbol, anchor.value + reference.relocation.addend

    def _exception_type(self, chunk: Chunk, anchor: Symbol, addend: int) -> str | None:
        """Exception tables find typeinfo through a pointer, which Clang leaves unnamed in .data."""
        if not chunk.name.startswith(".gcc_except_table"):
            return None
        file = self.closure.build.file(chunk.unit)
        place = anchor.value + addend
        for pointer in file.references_in(anchor.section, place, place + 1):
            if pointer.type == c.R_X86_64_64 and isinstance(pointer.target, Named):
                thing = self.linking.thing(chunk.unit, pointer.target.symbol, called=False)
                symbol, _inside = self.linking.datum(thing, chunk.where, wide=True)
                return self.linking.slots.pointer(symbol, pointer.target.offset)
        return None

    def _literal(
        self, chunk: Chunk, reference: Reference, literal: Literal, addend: int
    ) -> tuple[str, int]:
        """The old object's literal where it has the same, as addresses of literals may meet in
        old and new code; else a copy."""
        offset = addend + reference.trailing
        address = self.literals.address(chunk.unit.old, literal)
        if address is not None:
            label = f"{literal.kind}.{address:x}"
            return self.linking.bindings.object(label, address), offset
        self.escapes.data |= _takes_address(reference)
        return self.closure.need_literal(literal), offset

    def _place(
        self, chunk: Chunk, reference: Reference, section: int, offset: int
    ) -> tuple[str, int]:
        copied = self.closure.need_section(chunk.unit, section)
        self._note_data(chunk, reference, copied)
        return copied.symbol, offset

    def _function(
        self, chunk: Chunk, reference: Reference, thing: Thing, offset: int
    ) -> tuple[str, int]:
        """A label inside a function (jump tables, computed goto) means the copy it belongs to;
        the function's address itself, when not called, the one the program knows."""
        inside = offset != 0 or (reference.use == "data" and reference.pc_relative)
        called = reference.use == "branch"
        included = self.linking.included(thing)
        if included is not None:
            if included.role == "changed" and not called and not inside:
                return self.linking.old_entry(included), 0
            self.escapes.code |= included.role == "new" and not called and not inside
            return included.symbol, offset
        if inside or cold_parent(thing.name):
            raise BuildRefusedError(
                "label-in-old-function",
                f"The new code refers to a place inside {thing.name}, which is not part of it.",
                "Report this with the source; as a way out, change that function too.",
                where=chunk.where,
            )
        if called:
            return self.linking.callee(thing, chunk.where), 0
        wide = reference.type == c.R_X86_64_64
        symbol, new = self.linking.function_address(thing, chunk.where, wide=wide)
        self.escapes.code |= new
        return symbol, 0

    def _datum(
        self, chunk: Chunk, reference: Reference, thing: Thing, offset: int
    ) -> tuple[str, int]:
        wide = reference.type == c.R_X86_64_64
        symbol, copied = self.linking.datum(thing, chunk.where, wide=wide)
        if copied and thing.unit is not None and thing.definition is not None:
            if thing.name.startswith("DW.ref."):
                return symbol, offset
            self._note_data(chunk, reference, self.closure.need_datum(thing.unit, thing.definition))
        return symbol, offset

    def _note_data(self, chunk: Chunk, reference: Reference, copied: Chunk) -> None:
        if _takes_address(reference) and not self._is_jump_table(copied):
            self.escapes.data = True

    def _is_jump_table(self, chunk: Chunk) -> bool:
        """Read-only data whose every pointer is a label inside a function of its unit."""
        file = self.closure.build.file(chunk.unit)
        if chunk.draft.kind != "constant":
            return False
        found = file.references_in(chunk.section, chunk.start, chunk.end)
        return bool(found) and all(
            isinstance(r.target, Named)
            and r.target.symbol.name in file.functions
            and (r.pc_relative or r.target.offset != 0)
            for r in found
        )


def _takes_address(reference: Reference) -> bool:
    return reference.use in ("address", "data")


def _unsupported(chunk: Chunk, reference: Reference) -> BuildRefusedError:
    return BuildRefusedError(
        "unsupported-relocation",
        f"The new code has a relocation of type {reference.type} that a hotpatch can't hold.",
        "Build with the default code model (-mcmodel=small) and without hand-written assembly.",
        where=chunk.where,
    )
