"""The facts that pass from building two trees to comparing them. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from naht.hotpatch.manifest import Source


@dataclass(frozen=True)
class Unit:
    """One translation unit, compiled as the build compiles it and in the forms for comparing."""

    plain: Path  # the object file as the build made it (a snapshot that stays)
    sectioned: Path  # same flags, plus one section per function and datum, plus DWARF
    line_neutral: (
        Path | None
    )  # sectioned, with __LINE__, __DATE__, __TIME__ fixed; None: impossible
    line_counted: Path | None = None  # the same with __LINE__ counted by use


@dataclass(frozen=True)
class UnitPair:
    """A translation unit that was rebuilt. One side is None when it exists in one tree only."""

    source: str  # path relative to the tree
    old: Unit | None
    new: Unit | None


@dataclass(frozen=True)
class Placement:
    """Where the linker put one input section: [address, address + size) in the linked object."""

    address: int
    size: int


@dataclass(frozen=True)
class LinkedObject:
    """The linked result of one build.

    placements: (path of the plain object file, section name) → where it went, in input order
    where a file has several sections of that name.
    """

    path: Path
    placements: dict[tuple[Path, str], tuple[Placement, ...]] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()  # plain objects linked into it, in link order
    wrapped: frozenset[str] = frozenset()  # symbols named to the linker with --wrap

    def meant(self, undefined: str) -> str:
        """The symbol that an undefined reference is resolved to."""
        if undefined in self.wrapped:
            return f"__wrap_{undefined}"
        real = undefined.removeprefix("__real_")
        return real if real in self.wrapped else undefined


@dataclass(frozen=True)
class BuiltPair:
    units: tuple[UnitPair, ...]  # only units of this object that were rebuilt, added or removed
    unchanged: tuple[Path, ...]  # plain objects that both links share
    old_link: LinkedObject
    new_link: LinkedObject
    running: Path  # the binary that runs: given with --running, else old_link.path
    compilers: tuple[str, ...]  # first line of `CC --version`, sorted
    command: str
    sources: tuple[Source, ...]
