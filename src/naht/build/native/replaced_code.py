"""The old code of a changed function: where its parts run, their bytes, and how it is redirected.

The bytes are those of the running binary, which must be those of the old build but for where
unnamed literals lie; a function that differs there is refused by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from naht.build.native.closure import PlacedFunction
from naht.build.native.code_checks import leaves
from naht.build.native.displaced import displace
from naht.build.native.linked import LinkedView
from naht.build.native.linking import Linking
from naht.build.native.old_object import OldThing
from naht.build.native.relocatable import Named, Place, Relocatable
from naht.build.native.running_content import RunningContent
from naht.build.native.writer import Draft, DraftRelocation, DraftSection
from naht.errors import BuildRefusedError
from naht.hotpatch.image import DISPLACED_PREFIX, ENDBR64, OLD_PREFIX, REDIRECT_SIZE
from naht.hotpatch.manifest import Part


@dataclass(frozen=True)
class ReplacedCode:
    parts: tuple[Part, ...] = ()
    redirect: int = 0
    displaced: str = ""
    returns: bool = True


class ReplacedCodeWriter:
    def __init__(self, draft: Draft, linking: Linking) -> None:
        self._draft = draft
        self._linking = linking

    def write(self, placed: PlacedFunction) -> ReplacedCode:
        """Puts the old bytes and the displaced instructions of one function into the image."""
        things = self._things(placed)
        codes = [self._running_bytes(thing, placed.chunk.where) for thing in things]
        redirect = self._redirect(things[0], codes[0], placed.chunk.where)
        parts = tuple(
            self._part(placed.chunk.symbol, number, thing, code)
            for number, (thing, code) in enumerate(zip(things, codes, strict=True))
        )
        ranges = [(t.address, code) for t, code in zip(things, codes, strict=True)]
        return ReplacedCode(
            parts,
            redirect,
            self._displaced(placed.chunk.symbol, things[0], codes[0], redirect),
            leaves(ranges, has_jump_table=self._has_jump_table(placed)),
        )

    def _things(self, placed: PlacedFunction) -> list[OldThing]:
        included, where = placed.included, placed.chunk.where
        entry = self._linking.old_function(placed.chunk)
        unit = included.unit.old
        cold = [self._linking.old.of_unit(unit, n) for n in included.old_cold] if unit else []
        found = [entry, *(thing for thing in cold if thing is not None)]
        if len(found) != 1 + len(cold) or not all(thing.size for thing in found):
            raise BuildRefusedError(
                "no-place",
                "The place of its old code, or of a part of it, is not known.",
                "Build the old tree with exactly the flags and tools of the running binary.",
                where=where,
            )
        return found

    def _running_bytes(self, thing: OldThing, where: str) -> bytes:
        code = self._linking.running.read(thing.address, thing.size)
        same = code == self._linking.old.elf.read_address(thing.address, thing.size)
        if not same and self._content.difference(thing.address, thing.size):
            raise BuildRefusedError(
                "running-differs",
                f"{thing.name} is not the same code in the running binary as in the old build.",
                "Build the old tree with exactly the flags and tools of the running binary.",
                where=where,
            )
        return code

    @cached_property
    def _content(self) -> RunningContent:
        return RunningContent(LinkedView(self._linking.old.link), self._linking.running)

    def _redirect(self, thing: OldThing, code: bytes, where: str) -> int:
        skip = len(ENDBR64) if code.startswith(ENDBR64) else 0
        if len(code) < skip + REDIRECT_SIZE:
            raise BuildRefusedError(
                "too-short",
                f"{thing.name} is {len(code)} bytes long; a redirection needs "
                f"{skip + REDIRECT_SIZE}.",
                "Change its callers instead, so that they call a new function.",
                where=where,
            )
        return thing.address + skip

    def _part(self, symbol: str, number: int, thing: OldThing, code: bytes) -> Part:
        wanted = OLD_PREFIX + symbol + (f".{number}" if number else "")
        name = self._draft.free_section_name(wanted)
        self._draft.add_section(DraftSection(name, "unloaded", content=bytearray(code)))
        digest = hashlib.sha256(code).hexdigest()
        return Part(offset=thing.address, size=len(code), digest=digest, section=name)

    def _displaced(self, symbol: str, entry: OldThing, code: bytes, redirect: int) -> str:
        moved = displace(code, entry.address, redirect)
        if moved is None:
            return ""
        name = DISPLACED_PREFIX + symbol
        section = DraftSection("." + name, "code", 16, bytearray(moved.code))
        self._draft.add_section(section)
        for field in moved.fields:
            target = self._linking.bindings.object(f"naht.at.{field.target:x}", field.target)
            section.relocations.append(
                DraftRelocation(field.offset, field.type, target, field.addend)
            )
        return self._draft.define(name, section.name, 0, section.size, is_function=True)

    def _has_jump_table(self, placed: PlacedFunction) -> bool:
        """Whether the old function refers to unnamed data whose pointers lead into code."""
        file = self._linking.build.old_file(placed.included.unit)
        name = placed.included.old_name or placed.included.name
        if file is None or name not in file.functions:
            return False
        return any(
            isinstance(reference.target, Place) and _leads_into_code(file, reference.target.section)
            for reference in file.references_of(file.functions[name])
        )


def _leads_into_code(file: Relocatable, index: int) -> bool:
    return any(
        isinstance(r.target, Named) and r.target.symbol.name in file.functions
        for r in file.references(index)
    )
