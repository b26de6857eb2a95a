"""Thread-local variables: turns each TLS relocation into a slot that __tls_get_addr or the code
reads, or into a constant. The four models are those of the psABI's TLS supplement.

A hotpatch can't add thread-local storage to live threads: new variables are refused. So is what
only the dynamic linker could hand out (static TLS offsets of a library) where it has not.
"""

from __future__ import annotations

from naht.build.native.closure import Chunk
from naht.build.native.linking import Linking, Thing
from naht.build.native.relocatable import Named, Reference
from naht.elf import constants as c
from naht.errors import BuildRefusedError

TLS_TYPES = frozenset(
    {c.R_X86_64_TLSGD, c.R_X86_64_TLSLD, c.R_X86_64_DTPOFF32, c.R_X86_64_DTPOFF64,
     c.R_X86_64_GOTTPOFF, c.R_X86_64_TPOFF32, c.R_X86_64_TPOFF64, c.R_X86_64_GOTPC32_TLSDESC,
     c.R_X86_64_TLSDESC_CALL}
)  # fmt: skip


class Tls:
    def __init__(self, linking: Linking) -> None:
        self.linking = linking
        self.running = linking.running
        self.slots = linking.slots

    def resolve(self, chunk: Chunk, reference: Reference) -> str | bytes | None:
        """A slot's symbol, a constant's bytes, or None where the field needs nothing."""
        if reference.type == c.R_X86_64_TLSDESC_CALL:
            return None  # marks the call for linkers that relax it
        if reference.type == c.R_X86_64_TLSLD:
            return self.slots.tls_pair("module", self.linking.bindings.tls_module(), 0)
        if not isinstance(reference.target, Named):
            raise self._refuse(chunk, "tls-no-slot", "an unnamed thread-local variable")
        thing = self.linking.thing(chunk.unit, reference.target.symbol, called=False)
        offset = self._offset(chunk, thing)
        match reference.type:
            case c.R_X86_64_TLSGD:
                return self._pair(chunk, thing, offset)
            case c.R_X86_64_GOTTPOFF:
                return self._initial_exec(chunk, thing, offset)
            case c.R_X86_64_GOTPC32_TLSDESC:
                return self._descriptor(chunk, thing, offset)
            case c.R_X86_64_TPOFF32 | c.R_X86_64_TPOFF64:
                value = self._thread_offset(chunk, thing, offset)
            case _:
                value = self._own(chunk, thing, offset)
        return _encode(value + reference.target.offset, reference.size)

    def _offset(self, chunk: Chunk, thing: Thing) -> int | None:
        """Where a variable lies in the object's TLS block; None when it is another object's."""
        if old := self.linking.old_thing(thing):
            return old.address
        if thing.definition is not None:
            raise BuildRefusedError(
                "new-tls",
                f"The new code adds the thread-local variable {thing.name}; threads that run "
                "already have no room for it.",
                "Keep the value elsewhere, for instance in a table by thread id.",
                where=chunk.where,
            )
        return None

    def _own(self, chunk: Chunk, thing: Thing, offset: int | None) -> int:
        if offset is None:
            raise self._refuse(chunk, "tls-no-slot", thing.name)
        return offset

    def _pair(self, chunk: Chunk, thing: Thing, offset: int | None) -> str:
        if not thing.is_local and (slot := self._existing_pair(thing.name)):
            return self.linking.bindings.object(f"tls.{thing.name}", slot)
        own = self._own(chunk, thing, offset)
        return self.slots.tls_pair(thing.name, self.linking.bindings.tls_module(), own)

    def _existing_pair(self, name: str) -> int | None:
        module = self.running.named_slot(c.R_X86_64_DTPMOD64, name)
        offset = self.running.named_slot(c.R_X86_64_DTPOFF64, name)
        if module and offset and offset.address == module.address + 8:
            return module.address
        return None

    def _initial_exec(self, chunk: Chunk, thing: Thing, offset: int | None) -> str:
        slot = None if thing.is_local else self.running.named_slot(c.R_X86_64_TPOFF64, thing.name)
        if slot is None and offset is not None:
            slot = self.running.nameless_slot(c.R_X86_64_TPOFF64, offset)
        if slot is not None:
            return self.linking.bindings.object(f"tpoff.{thing.name}", slot.address)
        return self.slots.constant(thing.name, self._thread_offset(chunk, thing, offset))

    def _descriptor(self, chunk: Chunk, thing: Thing, offset: int | None) -> str:
        slot = None if thing.is_local else self.running.named_slot(c.R_X86_64_TLSDESC, thing.name)
        if slot is None and offset is not None:
            slot = self.running.nameless_slot(c.R_X86_64_TLSDESC, offset)
        if slot is None:
            raise self._refuse(chunk, "tls-no-slot", thing.name)
        return self.linking.bindings.object(f"tlsdesc.{thing.name}", slot.address)

    def _thread_offset(self, chunk: Chunk, thing: Thing, offset: int | None) -> int:
        """From the thread pointer. Only an executable's block has a fixed place: it ends, rounded
        up to its alignment, where the thread pointer points (psABI TLS, variant II)."""
        segment = self.running.tls_segment
        if self.running.kind != "executable" or segment is None or offset is None:
            raise self._refuse(chunk, "tls-no-slot", thing.name)
        alignment = max(segment.alignment, 1)
        end = -(-(segment.address + segment.memory_size) // alignment) * alignment
        return segment.address + offset - end

    def _refuse(self, chunk: Chunk, reason: str, name: str) -> BuildRefusedError:
        return BuildRefusedError(
            reason,
            f"The running object has no slot through which {name} could be reached.",
            "Compile the changed source with -ftls-model=global-dynamic, or use a variable that "
            "the old code of this object uses.",
            where=chunk.where,
        )


def _encode(value: int, size: int) -> bytes:
    return (value & ((1 << (8 * size)) - 1)).to_bytes(size, "little")
