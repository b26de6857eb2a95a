"""Where things of the old build lie in the running object.

A local name says nothing by itself, as units repeat them: it is found through the unit's own object
file and the place that the linker gave its section. Global names are found so too, else in the
linked symbol tables. Refuses what is ambiguous and what the sources contradict each other about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.compile_pair import BuiltPair, Placement, Unit
from naht.build.native.relocatable import FUNCTION_TYPES, Relocatable, is_name
from naht.build.native.running_object import RunningObject
from naht.elf import constants as c
from naht.elf.file import ElfFile, Symbol
from naht.errors import BuildRefusedError

LINKER_NAMES = frozenset(
    {"_GLOBAL_OFFSET_TABLE_", "_DYNAMIC", "_end", "end", "_edata", "edata", "_etext", "etext",
     "__bss_start", "__executable_start", "__ehdr_start", "__dso_handle"}
)  # fmt: skip
LINKER_PREFIXES = ("__start_", "__stop_")


@dataclass(frozen=True, slots=True)
class OldThing:
    """A function or datum of the running object. `address` of a TLS variable: its offset in the
    object's TLS block."""

    name: str
    address: int
    size: int
    type: int  # STT_…

    @property
    def is_function(self) -> bool:
        return self.type in FUNCTION_TYPES


class OldObject:
    """The old build, linked, and the running binary, which must agree with it."""

    def __init__(self, pair: BuiltPair, running: RunningObject) -> None:
        self.running = running
        self.link = pair.old_link
        self.elf = ElfFile(pair.old_link.path.read_bytes())
        self._files: dict[Path, Relocatable] = {}
        self._section_numbers: dict[Path, dict[str, list[int]]] = {}
        self._mapped = frozenset(path for path, _section in self.link.placements)

    def local(self, unit: Unit, name: str) -> OldThing | None:
        """A local of one unit; None when the link left it out (`--gc-sections`)."""
        file = self.file(unit.plain)
        if name in file.repeated_names:
            raise _refuse(
                "ambiguous-symbol", f"{name} is defined more than once in one unit.", name
            )
        definition = file.functions.get(name) or file.data.get(name)
        if definition is None:
            return None
        if unit.plain not in self._mapped:
            raise _refuse(
                "no-place", f"The linker's map does not say where {unit.plain.name} went.", name
            )
        return self._placed(file, definition.symbol)

    def is_discarded(self, unit: Unit, name: str) -> bool:
        """Whether the old object certainly lacks what `of_unit` does not find: the old unit has no
        such symbol, or the linker says where the unit went and left that section out."""
        sectioned = self.file(unit.sectioned)
        if name not in sectioned.data and name not in sectioned.functions:
            return True
        file = self.file(unit.plain)
        definition = file.functions.get(name) or file.data.get(name)
        if definition is None or definition.section == c.SHN_COMMON:
            return False
        return unit.plain in self._mapped

    def of_unit(self, unit: Unit, name: str) -> OldThing | None:
        """What `name` is in a unit, be it local or global there."""
        file = self.file(unit.plain)
        definition = file.functions.get(name) or file.data.get(name)
        if definition is not None and definition.is_local:
            return self.local(unit, name)
        if definition is not None and (found := self._placed(file, definition.symbol)):
            return found
        return self.global_(name)

    def global_(self, name: str) -> OldThing | None:
        """A global of the whole object, hidden or not; None when the object does not define it."""
        if export := self.running.exports.get(name):
            if export.section == c.SHN_ABS:
                return None
            return OldThing(name, export.value, export.size, export.type)
        candidates = self._linked.get(name, [])
        if visible := [s for s in candidates if s.binding != c.STB_LOCAL]:
            return self._agreed(name, visible)
        stripped = not self.elf.symbols
        return self._made_local(name, candidates) if candidates or stripped else None

    def _agreed(self, name: str, symbols: list[Symbol]) -> OldThing:
        if len({s.value for s in symbols}) != 1:
            raise _refuse("ambiguous-symbol", f"{name} has several definitions.", name)
        first = symbols[0]
        return OldThing(name, self._confirmed(first), first.size, first.type)

    def _made_local(self, name: str, candidates: list[Symbol]) -> OldThing | None:
        """A global of one input that visibility or a version script made local in the link, where
        a static may share its name."""
        if candidates and (name in LINKER_NAMES or name.startswith(LINKER_PREFIXES)):
            return self._agreed(name, candidates)
        for path, symbol in self._input_globals.get(name, ()):
            if symbol.section == c.SHN_COMMON and candidates:
                return self._agreed(name, candidates)
            if found := self._placed(self.file(path), symbol):
                return found
        return None

    @cached_property
    def _input_globals(self) -> dict[str, list[tuple[Path, Symbol]]]:
        found: dict[str, list[tuple[Path, Symbol]]] = {}
        for path in self.link.inputs:
            for symbol in self.file(path).elf.symbols:
                nowhere = symbol.section in (c.SHN_UNDEF, c.SHN_ABS)
                if is_name(symbol) and symbol.binding != c.STB_LOCAL and not nowhere:
                    found.setdefault(symbol.name, []).append((path, symbol))
        return found

    def is_called_directly(self, thing: OldThing) -> bool:
        """Whether the linker bound a call of this global for good (-Bsymbolic-functions leaves no
        other trace). Without any call of it there is no evidence, and the answer is no."""
        for path in self.link.inputs:
            for address in self._call_fields(self.file(path), thing.name):
                raw = self.running.read(address, 4)
                return address + 4 + int.from_bytes(raw, "little", signed=True) == thing.address
        return False

    def _call_fields(self, file: Relocatable, name: str) -> Iterator[int]:
        symbols = file.elf.symbols
        for index, relocations in file.elf.relocations_by_section.items():
            place = self._placement(file, index) if file.is_code(index) else None
            for r in relocations if place else ():
                called = r.type == c.R_X86_64_PLT32 and r.symbol < len(symbols)
                if place and called and symbols[r.symbol].name == name:
                    yield place.address + r.offset

    def _placed(self, file: Relocatable, symbol: Symbol) -> OldThing | None:
        """The place of a symbol of an object file: that of its section, plus its value."""
        if symbol.section == c.SHN_COMMON:  # the map gives no place for each of them
            return self.global_(symbol.name) if symbol.name in self._linked else None
        placement = self._placement(file, symbol.section)
        if placement is None:
            return None
        if symbol.value + symbol.size > placement.size:
            raise _refuse("no-place", f"{symbol.name} leaves its section in the map.", symbol.name)
        address = placement.address + symbol.value
        self._cross_check(symbol.name, address)
        if symbol.type == c.STT_TLS:
            address -= self._tls_start(symbol.name)
        else:
            self._confirm(symbol.name, address)
        return OldThing(symbol.name, address, symbol.size, symbol.type)

    def _sections(self, file: Relocatable) -> dict[str, list[int]]:
        """Section numbers by name, since the map tells equal names apart by their order."""
        if file.path not in self._section_numbers:
            numbers: dict[str, list[int]] = {}
            for section in file.elf.sections:
                numbers.setdefault(section.name, []).append(section.index)
            self._section_numbers[file.path] = numbers
        return self._section_numbers[file.path]

    def section_address(self, file: Relocatable, index: int) -> int | None:
        """Where the linker put a section that is loaded; None when it did not."""
        if not 0 < index < len(file.elf.sections) or not file.section(index).flags & c.SHF_ALLOC:
            return None
        placement = self._placement(file, index)
        return placement.address if placement else None

    def _placement(self, file: Relocatable, index: int) -> Placement | None:
        name = file.section(index).name
        same_name = self._sections(file)[name]
        placements = self.link.placements.get((file.path, name), ())
        if len(placements) != len(same_name):
            if placements:
                raise _refuse("no-place", f"The linker's map is unclear about {name}.", name)
            return None
        return placements[same_name.index(index)]

    def _cross_check(self, name: str, address: int) -> None:
        """The linked symbol table is a second witness, unless the build strips."""
        known = self._linked.get(name)
        if not known:
            return
        tls = self.running.tls_segment
        places = {s.value + (tls.address if tls and s.type == c.STT_TLS else 0) for s in known}
        if address not in places:
            raise _refuse(
                "no-place",
                f"The linker's map puts {name} at {address:#x}, its symbol table elsewhere.",
                name,
            )

    def _confirmed(self, symbol: Symbol) -> int:
        if symbol.type != c.STT_TLS:
            self._confirm(symbol.name, symbol.value)
        return symbol.value

    def _confirm(self, name: str, address: int) -> None:
        """The running binary has the same section at the same place as the old build."""
        if self.running.path == self.link.path:
            return
        mine = next(
            (s for s in self.elf.sections
             if s.flags & c.SHF_ALLOC and not s.flags & c.SHF_TLS
             and s.address <= address < s.address + max(s.size, 1)),
            None,
        )  # fmt: skip
        theirs = self.running.section_at(address)
        if mine is None or theirs is None or (mine.name, mine.address, mine.size) != (
            theirs.name, theirs.address, theirs.size
        ):  # fmt: skip
            raise _refuse(
                "running-differs",
                f"The old build has {name} at {address:#x}, where the running binary is laid out "
                "differently.",
                name,
            )

    def _tls_start(self, name: str) -> int:
        if self.running.tls_segment is None:
            raise _refuse("running-differs", "The running binary has no TLS block.", name)
        return self.running.tls_segment.address

    @cached_property
    def _linked(self) -> dict[str, list[Symbol]]:
        """The linked object's own symbols by name, `foo@@VERSION` taken as `foo`."""
        found: dict[str, list[Symbol]] = {}
        for symbol in self.elf.symbols:
            if is_name(symbol) and symbol.section not in (c.SHN_UNDEF, c.SHN_ABS):
                name, at, version = symbol.name.partition("@")
                if not at or version.startswith("@") or symbol.section != c.SHN_UNDEF:
                    found.setdefault(name, []).append(symbol)
        return found

    def file(self, path: Path) -> Relocatable:
        if path not in self._files:
            self._files[path] = Relocatable.load(path)
        return self._files[path]


def _refuse(reason: str, cause: str, where: str) -> BuildRefusedError:
    return BuildRefusedError(
        reason,
        cause,
        "Build the old tree with exactly the flags and tools of the running binary, unstripped.",
        where=where,
    )
