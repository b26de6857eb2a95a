"""The unwind table entries of one relocatable object: which FDE and which LSDA a function has.

Owns splitting `.eh_frame` into its entries. It doesn't interpret call frame instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from naht.build.native.relocatable import Named, Place, Reference, Relocatable
from naht.elf.file import malformed


@dataclass(frozen=True, slots=True)
class Frame:
    """One FDE. `rules` are its bytes after the CIE pointer, relocated fields zeroed, without
    padding."""

    section: int
    start: int
    end: int
    rules: bytes
    common: bytes  # the CIE's bytes, relocated fields zeroed
    code_field: Reference
    lsda: Reference | None
    personality: str  # "" when the CIE names none


def frames(view: Relocatable) -> dict[tuple[int, int], Frame]:
    """(section, offset) of code → its FDE."""
    found: dict[tuple[int, int], Frame] = {}
    for section in view.elf.sections:
        if section.name == ".eh_frame":
            for frame in _frames_in(view, section.index):
                found[_code_place(view, frame)] = frame
    return found


def _code_place(view: Relocatable, frame: Frame) -> tuple[int, int]:
    target = frame.code_field.target
    if isinstance(target, Place):
        return target.section, target.offset
    if isinstance(target, Named):
        return target.symbol.section, target.symbol.value + target.offset
    raise malformed(f"an unwind entry of {view.path} is for no code")


def _frames_in(view: Relocatable, index: int) -> Iterator[Frame]:
    raw = view.content(index)
    for start, end, pointer in _entries(raw):
        if pointer == 0:
            continue
        common_start = start + 4 - pointer  # the CIE pointer counts back from its own place
        common_end = _entry_end(raw, common_start)
        references = view.references_in(index, start, end)
        if not references:
            raise malformed(f"an unwind entry of {view.path} is for no code")
        personality = view.references_in(index, common_start, common_end)
        yield Frame(
            index, start, end,
            _zeroed(raw, start + 8, end, references),
            _zeroed(raw, common_start + 8, common_end, personality),
            references[0], references[1] if len(references) > 1 else None,
            _name(personality[0]) if personality else "",
        )  # fmt: skip


def _entries(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """(start, end, CIE pointer) of each entry; a length of 0 ends the table (LSB, .eh_frame)."""
    at = 0
    while at + 8 <= len(raw):
        end = _entry_end(raw, at)
        if end == at + 4:
            return
        yield at, end, int.from_bytes(raw[at + 4 : at + 8], "little")
        at = end


def _entry_end(raw: bytes, at: int) -> int:
    length = int.from_bytes(raw[at : at + 4], "little") if 0 <= at <= len(raw) - 4 else -1
    if length < 0 or length == 0xFFFFFFFF or at + 4 + length > len(raw):
        raise malformed("an unwind entry leaves its table")
    return at + 4 + length


def _zeroed(raw: bytes, start: int, end: int, references: tuple[Reference, ...]) -> bytes:
    body = bytearray(raw[start:end])
    for reference in references:
        low = max(reference.field - start, 0)
        body[low : low + reference.size] = bytes(reference.size)
    return bytes(body).rstrip(b"\0")  # DW_CFA_nop up to the section's alignment


def _name(reference: Reference) -> str:
    return reference.target.symbol.name if isinstance(reference.target, Named) else ""
