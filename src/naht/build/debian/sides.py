"""The two sides of a change, inside the clean root: overlays over the built package, whose sources
are synchronised to another tree and which the package's own makes bring up to date.

Refuses a side in which a unit that reads a changed file was not compiled again, however it is
tried. The built package itself is never written.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from naht.build.debian import mounts
from naht.build.debian.copied_sources import find_copied_sources
from naht.build.debian.kept_times import keep_times
from naht.build.debian.package_build import RECORDER, build_whole
from naht.build.debian.replay import replay
from naht.build.native import trees
from naht.build.native.dependencies import files_read, stale_units
from naht.build.native.recording import Invocation, read_records
from naht.build.native.request import Progress
from naht.build.native.toolchain import Recorder
from naht.build.native.units import Compilation, find_compilations
from naht.errors import BuildRefusedError, ToolError

BASE = Path("/naht/base")  # the built package, read-only
WORK = Path("/naht/work")
_STEERING = re.compile(r"debian/rules|(?:.*/)?(?:GNUm|M|m)akefile|.*\.(?:mk|mak)")


@dataclass
class Records:
    """All records of the base, and who of them has been told apart so far."""

    recorder: Recorder
    base: tuple[Invocation, ...]
    seen: set[str]

    @classmethod
    def of_base(cls) -> Records:
        recorder = Recorder(Path(RECORDER), ())
        base = read_records(recorder, recorder.records)
        return cls(recorder, base, {r.id for r in base})

    def new(self) -> tuple[Invocation, ...]:
        """What was recorded since the last call."""
        names = {p.name for p in self.recorder.records.iterdir() if not p.name.startswith(".")}
        fresh = read_records(self.recorder, self.recorder.records, names - self.seen)
        self.seen |= names
        return fresh


@dataclass
class Side:
    """One side. `source`: the tree that it is built from; None: the base as it was built."""

    name: str
    tree: Path  # where it is when it is shown
    base_source: Path
    source: Path | None
    records: tuple[Invocation, ...] = ()
    change: trees.TreeChange = field(default_factory=lambda: trees.TreeChange((), (), ()))
    copies: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by changed file
    stale: tuple[Compilation, ...] = ()  # of the base, that read a changed file

    def show(self) -> None:
        """Puts this side where packages are built."""
        target = self.tree.parent
        mounts.unmount(target)
        upper, work = WORK / self.name / "upper", WORK / self.name / "work"
        for directory in (upper, work):
            directory.mkdir(parents=True, exist_ok=True)
        owner = (BASE / "build").stat()
        os.chown(upper, owner.st_uid, owner.st_gid)
        upper.chmod(owner.st_mode & 0o7777)
        mounts.overlay((BASE / "build",), upper, work, target)

    def reads(self, name: str) -> bool:
        """Whether a unit that was compiled anew is, or may have read, this file."""
        path = self.tree / name
        places = {path, *(self.tree / copy for copy in self.copies.get(name, ()))}
        return any(
            x.source.path in places or _mentions(x, {path.name.encode()}) for x in self.stale
        )

    def keep_times(self, made: frozenset[Path]) -> None:
        """`made`: what compilers and linkers wrote."""
        touched = {x.source.path for x in self.stale}
        place = self.tree.parent
        keep_times(WORK / self.name / "upper", BASE / "build", place, made | touched)

    def reset(self) -> None:
        mounts.unmount(self.tree.parent)
        shutil.rmtree(WORK / self.name)
        mounts.bind(BASE / "build", self.tree.parent, read_only=True)


def build_side(
    side: Side,
    records: Records,
    compilations: Sequence[Compilation],
    shipped: Collection[str],
    log: Path,
    progress: Progress,
) -> None:
    """`compilations`: those of the base; `shipped`: ids of its links that hosts have."""
    side.show()
    if side.source is None:
        return
    side.change = _with_copies(compare_sources(side.base_source, side.source), side)
    side.stale = _stale(side, compilations)
    if steering := _steering_files(side.change):
        progress(f"{steering[0]} says how the package is built.")
        _build_whole(side, records, log, progress)
        return
    _synchronise(side)
    side.stale = tuple(x for x in side.stale if x.source.path.is_file())  # others are gone
    trees.touch(x.source.path for x in side.stale)
    progress(f"building the {side.name} side ({len(side.stale)} units)…")
    try:
        made = frozenset(output.path for r in records.base for output in r.outputs)
        replay(records.base, shipped, side.tree, log, lambda: side.keep_times(made))
        side.records = records.new()
        missed = _missed(side, side.stale)
    except ToolError as error:
        progress(f"{error.cause} Building the whole package anew…")
        missed = list(side.stale)
    if missed:
        _build_whole(side, records, log, progress)


def compare_sources(old: Path, new: Path) -> trees.TreeChange:
    """Without quilt's own notes of what is applied."""
    change = trees.compare_trees(old, new)
    parts = (change.changed, change.added, change.removed)
    return trees.TreeChange(*(tuple(n for n in p if not n.startswith(".pc/")) for p in parts))


def _steering_files(change: trees.TreeChange) -> list[str]:
    """Flags are in there, and no make compiles anew because they changed. What autotools, CMake and
    Meson read is not among them: their makes configure anew by themselves."""
    names = (*change.changed, *change.added, *change.removed)
    return [name for name in names if _STEERING.fullmatch(name)]


def _with_copies(change: trees.TreeChange, side: Side) -> trees.TreeChange:
    """Packages that build several flavours copy their sources first; the copies change, too."""
    side.copies = find_copied_sources(side.tree, side.base_source, change.changed)
    copies = [copy for names in side.copies.values() for copy in names]
    return replace(change, changed=tuple(sorted((*change.changed, *copies))))


def _synchronise(side: Side) -> None:
    assert side.source is not None  # noqa: S101
    copies = {copy for names in side.copies.values() for copy in names}
    own = replace(side.change, changed=tuple(c for c in side.change.changed if c not in copies))
    trees.synchronise(own, side.source, side.tree)
    for name, places in side.copies.items():
        for place in places:
            shutil.copyfile(side.source / name, side.tree / place)


def _stale(side: Side, compilations: Sequence[Compilation]) -> tuple[Compilation, ...]:
    """Without those of `configure`, whose sources are gone."""
    present = [x for x in compilations if x.source.path.is_file()]
    likely = _that_may_read(present, side.change)
    return stale_units(likely, files_read(likely), side.change, side.tree)


def _that_may_read(
    compilations: Sequence[Compilation], change: trees.TreeChange
) -> list[Compilation]:
    """A quick look before the dependency rules of thousands of units are parsed."""
    names = (*change.changed, *change.added, *change.removed)
    words = {Path(name).name.encode() for name in names}
    return [x for x in compilations if _mentions(x, words)]


def _mentions(x: Compilation, words: set[bytes]) -> bool:
    rule = x.invocation.dependencies
    if rule is None or x.source.path.name.encode() in words:
        return True
    content = rule.read_bytes()
    return any(word in content for word in words)


def _missed(side: Side, stale: Sequence[Compilation]) -> list[Compilation]:
    outputs = {x.output for x in find_compilations(side.records)}
    return [x for x in stale if x.output is not None and x.output not in outputs]


def _build_whole(side: Side, records: Records, log: Path, progress: Progress) -> None:
    """From a fresh tree: what the makes do not bring up to date by themselves."""
    progress(f"building the {side.name} side whole…")
    assert side.source is not None  # noqa: S101
    side.reset()
    side.show()
    shutil.rmtree(side.tree)
    shutil.copytree(side.source, side.tree, symlinks=True)
    build_whole(side.tree, log, BASE / "build.json")
    side.records = records.new()
    if not side.records:
        raise BuildRefusedError(
            "not-rebuilt",
            f"The package's own build compiled nothing in the {side.name} tree.",
            f"Look at {log.name} beside the result.",
        )
