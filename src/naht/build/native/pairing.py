"""Builds the old and the new tree at the same place and pairs what changed.

Refuses when a change can't be followed from source to linked object: nothing changed, a unit that
was not rebuilt, an object whose compilation was not seen. It judges no change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from naht.build.compile_pair import BuiltPair, LinkedObject, Unit, UnitPair
from naht.build.native import trees
from naht.build.native.dependencies import stale_units
from naht.build.native.link_inputs import read_link, refuse_hidden_objects
from naht.build.native.link_search import find_link, is_elf
from naht.build.native.link_time_optimization import is_optimised, read_optimised_link
from naht.build.native.patching import apply_patches
from naht.build.native.placing import place
from naht.build.native.recompile import UnitJob, compile_forms
from naht.build.native.recording import Invocation
from naht.build.native.request import BuildRequest, Progress
from naht.build.native.running_build import run_build
from naht.build.native.toolchain import Recorder, install_recorder
from naht.build.native.units import Compilation, Link, LinkedInput, find_compilations
from naht.build.native.workspace import open_workspace
from naht.errors import BuildRefusedError, UsageError
from naht.hotpatch.manifest import Source


@dataclass(frozen=True)
class _Phase:
    """One built tree: what was run so far, and how the object was made."""

    records: tuple[Invocation, ...]
    link: Link


@contextmanager
def build_pair(request: BuildRequest, progress: Progress) -> Iterator[BuiltPair]:
    """The files of the pair exist until the context ends."""
    trees.check_tree(request.old)
    with open_workspace(_key(request), request.keep, progress) as work:
        new_source = _new_source(request, work)
        change = trees.compare_trees(request.old, new_source)
        sources = _changed_sources(request, change, new_source)
        recorder = install_recorder(work / "recorder", os.environ.get("PATH", os.defpath))
        tree = work / "tree"
        old = _build_old(request, recorder, tree, progress)
        trees.duplicate_tree(tree, work / "tree-old")
        stale = stale_units(_own(old.link), change, tree)
        trees.synchronise(change, new_source, tree)
        trees.touch(x.source.path for x in stale if x.source.path.is_file())
        new = _build_new(request, recorder, tree, old, progress)
        _check_rebuilt(stale, old, new, tree)
        yield _pair(request, sources, old, new, tree, progress)


def _key(request: BuildRequest) -> str:
    """Of what determines the outcome, so that the same change is built at the same place."""
    digest = hashlib.sha256()
    for part in (request.command, request.object):
        digest.update(part.encode() + b"\0")
    for patch in request.patches:
        digest.update(_read_patch(patch))
    if request.new is not None:
        trees.check_tree(request.new)
        change = trees.compare_trees(request.old, request.new)
        digest.update(repr(trees.source_digests(change, request.old, request.new)).encode())
    return digest.hexdigest()


def _read_patch(patch: Path) -> bytes:
    try:
        return patch.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {patch}: {error.strerror}.", "Check the path.") from error


def _new_source(request: BuildRequest, work: Path) -> Path:
    if (request.new is None) == (not request.patches):
        raise UsageError(
            "Either a new tree or patches are needed.", "Give --new, or --patch, not both."
        )
    for tree in filter(None, (request.old, request.new)):
        trees.check_tree(tree, work)
    if request.new is not None:
        return request.new
    patched = work / "source-new"
    trees.duplicate_tree(request.old, patched)
    apply_patches(patched, request.patches)
    return patched


def _changed_sources(
    request: BuildRequest, change: trees.TreeChange, new: Path
) -> tuple[Source, ...]:
    sources = trees.source_digests(change, request.old, new)
    if not sources:
        raise BuildRefusedError(
            "nothing-changed",
            "The old and the new tree hold the same sources.",
            "Check that --new has the fix.",
        )
    return sources


# ---- the two builds ----


def _build_old(request: BuildRequest, recorder: Recorder, tree: Path, progress: Progress) -> _Phase:
    left_out = trees.copy_tree(request.old, tree)
    if left_out:
        progress(f"left out of the copy, configured for another place: {', '.join(left_out)}")
    if trees.is_built(tree):
        trees.touch_sources(tree)
    records = run_build(recorder, request.command, tree, "old", progress)
    return _phase(records, request, recorder, tree)


def _build_new(
    request: BuildRequest, recorder: Recorder, tree: Path, old: _Phase, progress: Progress
) -> _Phase:
    records = run_build(recorder, request.command, tree, "new", progress)
    return _phase((*old.records, *records), request, recorder, tree)


def _phase(
    records: tuple[Invocation, ...], request: BuildRequest, recorder: Recorder, tree: Path
) -> _Phase:
    compilations = find_compilations(records)
    found = find_link(records, tree, request.object)
    refuse_hidden_objects(found, records)
    if is_optimised(found):
        link = read_optimised_link(found, records, compilations, recorder, tree)
    else:
        link = read_link(found, compilations, tree)
    if not link.compiled:
        raise BuildRefusedError(
            "unrecorded-compiler",
            f"{request.object} was linked, but no compilation of its objects was seen.",
            "Let the build call its compiler by name (CC=gcc), not by absolute path, and start "
            "from a tree without objects of an earlier build.",
        )
    _refuse_outside(_own(link), tree)
    return _Phase(records, link)


def _own(link: Link) -> tuple[Compilation, ...]:
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


def _check_rebuilt(stale: Sequence[Compilation], old: _Phase, new: _Phase, tree: Path) -> None:
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


# ---- the pair ----


def _pair(
    request: BuildRequest,
    sources: tuple[Source, ...],
    old: _Phase,
    new: _Phase,
    tree: Path,
    progress: Progress,
) -> BuiltPair:
    work = tree.parent
    old_objects = _store(old.link, work / "objects-old", {})
    shared = {i.key: old_objects[i.name] for i in old.link.inputs}
    digests = {i.key: i.digest for i in old.link.inputs}
    same = {i.key for i in new.link.inputs if digests.get(i.key) == i.digest}
    new_objects = _store(new.link, work / "objects-new", {k: shared[k] for k in same})
    units = _changed_units(old, new, old_objects, new_objects, tree, progress)
    old_link = place(old.link, _store_output(old.link, work / "linked-old", request), old_objects)
    new_link = place(new.link, _store_output(new.link, work / "linked-new", request), new_objects)
    return BuiltPair(
        units=units,
        unchanged=tuple(p for p in new_link.inputs if p in set(old_link.inputs)),
        old_link=old_link,
        new_link=new_link,
        running=_running(request, old_link),
        compilers=_compilers([*_own(old.link), *_own(new.link)]),
        command=request.command,
        sources=sources,
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


def _store_output(link: Link, directory: Path, request: BuildRequest) -> Path:
    path = directory / Path(request.object).name
    directory.mkdir()
    shutil.copyfile(link.output, path)
    return path


def _running(request: BuildRequest, old_link: LinkedObject) -> Path:
    if request.running is not None:
        return request.running
    shipped = request.old / request.object
    return shipped if is_elf(shipped) else old_link.path


def _compilers(compilations: Sequence[Compilation]) -> tuple[str, ...]:
    versions = set()
    for tool in sorted({x.invocation.tool for x in compilations}):
        result = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
        versions.add((result.stdout.splitlines() or [tool.name])[0])
    return tuple(sorted(versions))


def _changed_units(
    old: _Phase,
    new: _Phase,
    old_objects: dict[tuple[str, str], Path],
    new_objects: dict[tuple[str, str], Path],
    tree: Path,
    progress: Progress,
) -> tuple[UnitPair, ...]:
    before = {i.key: i for i in old.link.inputs}
    after = {i.key: i for i in new.link.inputs}
    keys = [
        key for key in dict.fromkeys((*before, *after))
        if key not in before or key not in after or before[key].digest != after[key].digest
    ]  # fmt: skip
    _refuse_unrecorded(keys, before, after)
    progress(f"comparing {len(keys)} of {len(after)} objects…")
    work = tree.parent
    new_units = _units(keys, after, new_objects, work / "forms-new")
    # The old tree goes back to where it was built: paths are part of what compilers see.
    tree.rename(work / "tree-new")
    (work / "tree-old").rename(tree)
    old_units = _units(keys, before, old_objects, work / "forms-old")
    return tuple(
        UnitPair(
            _source(before.get(key) or after[key], tree), old_units.get(key), new_units.get(key)
        )
        for key in keys
    )


def _source(item: LinkedInput, tree: Path) -> str:
    return item.compilation.source_name(tree) if item.compilation else item.key


def _refuse_unrecorded(
    keys: Sequence[str], before: dict[str, LinkedInput], after: dict[str, LinkedInput]
) -> None:
    for key in keys:
        sides = [side[key] for side in (before, after) if key in side]
        known = [s.compilation is not None or s.sectioned is not None for s in sides]
        if len(known) == 2 and not all(known):
            raise BuildRefusedError(
                "unrecorded-compiler",
                f"{key} changed, but its compilation was not seen.",
                "Let the build compile it with gcc or clang, called by name; other tools and "
                "objects made by hand can't be compared.",
                where=key,
            )


def _units(
    keys: Sequence[str],
    inputs: dict[str, LinkedInput],
    objects: dict[tuple[str, str], Path],
    directory: Path,
) -> dict[str, Unit]:
    present = [inputs[key] for key in keys if key in inputs]
    directory.mkdir()
    made = [i for i in present if i.compilation]
    jobs = [
        UnitJob(i.compilation, objects[i.name], directory / f"{n:05}")
        for n, i in enumerate(made) if i.compilation
    ]  # fmt: skip
    units = dict(zip((i.key for i in made), compile_forms(jobs), strict=True))
    for item in present:
        if item.sectioned is not None:
            form = directory / f"{item.key}.o"
            form.write_bytes(item.sectioned)
            units[item.key] = Unit(objects[item.name], form, None)
        else:  # from a library that is not built here: as it is
            plain = objects[item.name]
            units.setdefault(item.key, Unit(plain, plain, None))
    return units
