"""The unwind table of the image: the FDEs of its functions and the CIEs that they need.

Exceptions and backtraces pass through patched frames by it. It copies the compiler's entries
and interprets none of them.
"""

from __future__ import annotations

from naht.build.compile_pair import UnitPair
from naht.build.native.closure import Chunk, Closure
from naht.build.native.frames import Frame, frames
from naht.build.native.linking import Linking
from naht.build.native.relocatable import SPECIAL_SECTIONS, Named, Place, Reference
from naht.build.native.writer import DraftRelocation, DraftSection
from naht.elf import constants as c
from naht.errors import BuildRefusedError

_Fields = tuple[tuple[int, int, str, int], ...]  # (offset, type, symbol, addend)


class UnwindTable:
    def __init__(self, closure: Closure, linking: Linking) -> None:
        self._closure = closure
        self._linking = linking
        self._frames: dict[UnitPair, dict[tuple[int, int], Frame]] = {}
        self._common: dict[tuple[bytes, _Fields], int] = {}
        self._table = DraftSection(".eh_frame", "constant", 8)

    def add(self, chunk: Chunk) -> None:
        """The entry of one piece of code, if the compiler made one."""
        if chunk.unit not in self._frames:
            self._frames[chunk.unit] = frames(self._closure.build.file(chunk.unit))
        frame = self._frames[chunk.unit].get((chunk.section, chunk.start))
        if frame is None:
            return
        common = self._add_common(chunk, frame)
        raw = bytearray(self._content(chunk, frame)[frame.start : frame.end])
        fields = self._fields(chunk, frame.section, frame.start, frame.end, raw)
        at = len(self._table.content)
        raw[4:8] = (at + 4 - common).to_bytes(4, "little")
        self._append(bytes(raw), fields)

    def close(self) -> None:
        """Ends the table with a zero word, where unwinders stop."""
        if self._table.content:
            self._table.content += bytes(4)
            self._closure.draft.add_section(self._table)

    def _add_common(self, chunk: Chunk, frame: Frame) -> int:
        content = self._content(chunk, frame)
        pointer = int.from_bytes(content[frame.start + 4 : frame.start + 8], "little")
        start = frame.start + 4 - pointer
        end = start + 4 + int.from_bytes(content[start : start + 4], "little")
        raw = bytearray(content[start:end])
        fields = self._fields(chunk, frame.section, start, end, raw)
        key = (bytes(raw), fields)
        if key not in self._common:
            self._common[key] = self._append(bytes(raw), fields)
        return self._common[key]

    def _append(self, raw: bytes, fields: _Fields) -> int:
        at = self._table.append(raw)
        for offset, kind, symbol, addend in fields:
            self._table.relocations.append(DraftRelocation(at + offset, kind, symbol, addend))
        return at

    def _content(self, chunk: Chunk, frame: Frame) -> bytes:
        return self._closure.build.file(chunk.unit).content(frame.section)

    def _fields(self, chunk: Chunk, section: int, start: int, end: int, raw: bytearray) -> _Fields:
        found = []
        for reference in self._closure.build.file(chunk.unit).references_in(section, start, end):
            at = reference.field - start
            raw[at : at + reference.size] = bytes(reference.size)
            symbol, addend = self._resolve(chunk, reference)
            found.append((at, reference.type, symbol, addend))
        return tuple(found)

    def _resolve(self, chunk: Chunk, reference: Reference) -> tuple[str, int]:
        """Three things stand in these fields: the code, its exception table, the personality."""
        target = reference.target
        if reference.type not in (
            c.R_X86_64_PC32, c.R_X86_64_PC64, c.R_X86_64_64, c.R_X86_64_32, c.R_X86_64_32S
        ) or not isinstance(target, Named | Place):  # fmt: skip
            raise self._refuse(chunk, reference)
        if isinstance(target, Place):
            if target.section == chunk.section:
                return chunk.symbol, target.offset - chunk.start
            return self._closure.need_section(chunk.unit, target.section).symbol, target.offset
        if target.symbol.section == chunk.section:
            return chunk.symbol, target.symbol.value + target.offset - chunk.start
        if self._is_exception_table(chunk, target):  # which Clang gives names
            table = self._closure.need_section(chunk.unit, target.symbol.section)
            return table.symbol, target.symbol.value + target.offset
        return self._personality(chunk, reference, target), target.offset

    def _is_exception_table(self, chunk: Chunk, target: Named) -> bool:
        file, index = self._closure.build.file(chunk.unit), target.symbol.section
        return index not in SPECIAL_SECTIONS and file.section(index).name.startswith(
            ".gcc_except_table"
        )

    def _personality(self, chunk: Chunk, reference: Reference, target: Named) -> str:
        thing = self._linking.thing(chunk.unit, target.symbol, called=False)
        if not thing.is_function:
            wide = reference.type == c.R_X86_64_64
            return self._linking.datum(thing, chunk.where, wide=wide)[0]
        return self._linking.callee(thing, chunk.where)  # it is only ever called

    def _refuse(self, chunk: Chunk, reference: Reference) -> BuildRefusedError:
        return BuildRefusedError(
            "unsupported-relocation",
            f"Its unwind table has a relocation of type {reference.type}.",
            "Compile it with -fasynchronous-unwind-tables in the default code model.",
            where=chunk.where,
        )
