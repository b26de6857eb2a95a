"""Runs the two builds and reads what they did for the object.

Refuses a build whose compilations were not seen, that works outside of its tree, or that does not
compile again what the change touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from naht.build.native import trees
from naht.build.native.link_inputs import read_link, refuse_hidden_objects
from naht.build.native.link_search import find_link
from naht.build.native.link_time_optimization import is_optimised, read_optimised_link
from naht.build.native.recording import Invocation
from naht.build.native.request import BuildRequest, Progress
from naht.build.native.running_build import run_build
from naht.build.native.toolchain import Recorder
from naht.build.native.units import Compilation, Link, find_compilations
from naht.errors import BuildRefusedError


@dataclass(frozen=True)
class Phase:
    """One built tree: what was run so far, and how the object was made."""

    records: tuple[Invocation, ...]
    link: Link


def build_old(request: BuildRequest, recorder: Recorder, tree: Path, progress: Progress) -> Phase:
    left_out = trees.copy_tree(request.old, tree)
    if left_out:
        progress(f"left out of the copy, configured for another place: {', '.join(left_out)}")
    if trees.is_built(tree):
        trees.touch_sources(tree)
    records = run_build(recorder, request.command, tree, "old", progress)
    return _read_phase(records, request, recorder, tree)


def build_new(
    request: BuildRequest, recorder: Recorder, tree: Path, old: Phase, progress: Progress
) -> Phase:
    records = run_build(recorder, request.command, tree, "new", progress)
    return _read_phase((*old.records, *records), request, recorder, tree)


def _read_phase(
    records: tuple[Invocation, ...], request: BuildRequest, recorder: Recorder, tree: Path
) -> Phase:
    found = find_link(records, tree, request.object)
    return phase_of_link(found, records, find_compilations(records), recorder, tree)


def phase_of_link(
    found: Invocation,
    records: Sequence[Invocation],
    compilations: Sequence[Compilation],
    recorder: Recorder,
    tree: Path,
) -> Phase:
    """`compilations`: those of the records."""
    refuse_hidden_objects(found, records)
    if is_optimised(found):
        link = read_optimised_link(found, records, compilations, recorder, tree)
    else:
        link = read_link(found, compilations, tree)
    if not link.compiled:
        raise BuildRefusedError(
            "unrecorded-compiler",
            f"{found.outputs[0].path.name} was linked, but no compilation of its objects was seen.",
            "Let the build call its compiler by name (CC=gcc), not by absolute path, and start "
            "from a tree without objects of an earlier build.",
        )
    _refuse_outside(compilations_of(link), tree)
    return Phase(tuple(records), link)


def compilations_of(link: Link) -> tuple[Compilation, ...]:
    return tuple(link.compiled.values())


def _refuse_outside(compilations: Sequence[Compilation], tree: Path) -> None:
    for x in compilations:
        if not x.source.path.is_relative_to(tree) and not x.invocation.cwd.is_relative_to(tree):
            raise BuildRefusedError(
                "outside-tree",
                f"The build compiled {x.source.path}, which is outside of its own tree.",
                "Give trees that are not configured for another directory (`make distclean`), and "
                "let --command configure them.",
            )


def check_rebuilt(stale: Sequence[Compilation], old: Phase, new: Phase, tree: Path) -> None:
    """A makefile without header dependencies, or a build from a cache, would hide the change."""
    before = {record.id for record in old.records}
    for key, compilation in old.link.compiled.items():
        now = new.link.compiled.get(key)
        if compilation in stale and now and now.invocation.id in before:
            raise BuildRefusedError(
                "not-rebuilt",
                f"{compilation.source_name(tree)} reads a changed file, but the build did not "
                "compile it again.",
                "Let --command build it anew (for example `make clean && make`).",
                where=key,
            )
