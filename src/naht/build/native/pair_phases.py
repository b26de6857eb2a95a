"""Pairs two phases of one object: plain objects put side by side, units compiled again in the forms
for comparing, links with their placements.

Refuses what its stages refuse. It judges no change, and builds nothing but single units.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from naht.build.compile_pair import BuiltPair
from naht.build.native.phases import Phase, compilations_of
from naht.build.native.placing import place
from naht.build.native.request import Progress
from naht.build.native.tool_account import credentials
from naht.build.native.unit_pairs import Kept, pair_units
from naht.build.native.units import Compilation, Link
from naht.hotpatch.manifest import Source


@dataclass(frozen=True)
class PairingPlace:
    """Where the pair is made.

    tree: where the new tree is, and the old one once `show_old` was called: paths are part of what
    compilers see. work: a directory for what the pair keeps.
    """

    tree: Path
    work: Path
    show_old: Callable[[], None]
    kept: Kept = lambda _: None


@dataclass(frozen=True)
class PairFacts:
    """What is said of the pair, as opposed to what is found out."""

    name: str  # file name of the object
    command: str
    sources: tuple[Source, ...]
    running: Path | None  # None: the old link itself


def pair_phases(
    old: Phase, new: Phase, where: PairingPlace, facts: PairFacts, progress: Progress
) -> BuiltPair:
    work = where.work
    old_objects = _store(old.link, work / "objects-old", {})
    shared = {i.key: old_objects[i.name] for i in old.link.inputs}
    digests = {i.key: i.digest for i in old.link.inputs}
    same = {i.key for i in new.link.inputs if digests.get(i.key) == i.digest}
    new_objects = _store(new.link, work / "objects-new", {k: shared[k] for k in same})
    units = pair_units(
        (old.link, old_objects), (new.link, new_objects),
        where.tree, work, where.show_old, where.kept, progress,
    )  # fmt: skip
    old_output = _store_output(old.link, work / "linked-old", facts.name)
    old_link = place(old.link, old_output, old_objects)
    new_output = _store_output(new.link, work / "linked-new", facts.name)
    new_link = place(new.link, new_output, new_objects)
    return BuiltPair(
        units=units,
        unchanged=tuple(p for p in new_link.inputs if p in set(old_link.inputs)),
        old_link=old_link,
        new_link=new_link,
        running=facts.running or old_link.path,
        compilers=_compilers([*compilations_of(old.link), *compilations_of(new.link)]),
        command=facts.command,
        sources=facts.sources,
    )


def _store(link: Link, directory: Path, shared: dict[str, Path]) -> dict[tuple[str, str], Path]:
    """Writes the plain objects under names that say what they are; shared ones are not written."""
    stored: dict[tuple[str, str], Path] = {}
    for item in link.inputs:
        path = shared.get(item.key) or directory / item.key.lstrip("/")
        if item.key not in shared:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.content)
        stored[item.name] = path
    return stored


def _store_output(link: Link, directory: Path, name: str) -> Path:
    path = directory / name
    directory.mkdir()
    shutil.copyfile(link.output, path)
    return path


def _compilers(compilations: Sequence[Compilation]) -> tuple[str, ...]:
    versions = set()
    for tool in sorted({x.invocation.tool for x in compilations}):
        result = subprocess.run(
            [tool, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, **credentials(),
        )  # fmt: skip
        versions.add((result.stdout.splitlines() or [tool.name])[0])
    return tuple(sorted(versions))
