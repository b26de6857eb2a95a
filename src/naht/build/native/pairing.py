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
from pathlib import Path

from naht.build.compile_pair import BuiltPair, LinkedObject
from naht.build.native import trees
from naht.build.native.dependencies import files_read, stale_units, unread_files
from naht.build.native.link_search import is_elf
from naht.build.native.patching import apply_patches
from naht.build.native.phases import Phase, build_new, build_old, check_rebuilt, compilations_of
from naht.build.native.placing import place
from naht.build.native.request import BuildRequest, Progress
from naht.build.native.toolchain import install_recorder
from naht.build.native.unit_pairs import pair_units
from naht.build.native.units import Compilation, Link
from naht.build.native.workspace import open_workspace
from naht.errors import BuildRefusedError, UsageError
from naht.hotpatch.manifest import Source


@contextmanager
def build_pair(request: BuildRequest, progress: Progress) -> Iterator[BuiltPair]:
    """The files of the pair exist until the context ends."""
    _check(request)
    with open_workspace(_key(request), request.keep, progress) as work:
        new_source = _new_source(request, work)
        change = trees.compare_trees(request.old, new_source)
        sources = _changed_sources(request, change, new_source)
        recorder = install_recorder(work / "recorder", os.environ.get("PATH", os.defpath))
        tree = work / "tree"
        old = build_old(request, recorder, tree, progress)
        trees.duplicate_tree(tree, work / "tree-old")
        stale = _stale_units(old.link, change, tree, progress)
        trees.synchronise(change, new_source, tree)
        trees.touch(x.source.path for x in stale if x.source.path.is_file())
        new = build_new(request, recorder, tree, old, progress)
        check_rebuilt(stale, old, new, tree)
        yield _pair(request, sources, old, new, tree, progress)


def _check(request: BuildRequest) -> None:
    """What can be known before minutes of building."""
    for tree in filter(None, (request.old, request.new)):
        trees.check_tree(tree)
    if (request.new is None) == (not request.patches):
        raise UsageError(
            "Either a new tree or patches are needed.", "Give --new, or --patch, not both."
        )
    if Path(request.object).is_absolute() or ".." in Path(request.object).parts:
        raise UsageError(
            f"{request.object} is not a path inside the tree.", "Give it relative to the tree."
        )
    if request.running is not None and not is_elf(request.running):
        raise UsageError(
            f"{request.running} {_fault(request.running)}.",
            "Give --running the binary that runs.",
        )


def _fault(file: Path) -> str:
    return "is not an ELF file" if file.is_file() else "is no file, or does not exist"


def _key(request: BuildRequest) -> str:
    """Of what determines the outcome, so that the same change is built at the same place."""
    digest = hashlib.sha256()
    for part in (request.command, request.object):
        digest.update(part.encode() + b"\0")
    for patch in request.patches:
        digest.update(_read_patch(patch))
    if request.new is not None:
        change = trees.compare_trees(request.old, request.new)
        digest.update(repr(trees.source_digests(change, request.old, request.new)).encode())
    return digest.hexdigest()


def _read_patch(patch: Path) -> bytes:
    try:
        return patch.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {patch}: {error.strerror}.", "Check the path.") from error


def _new_source(request: BuildRequest, work: Path) -> Path:
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


def _stale_units(
    link: Link, change: trees.TreeChange, tree: Path, progress: Progress
) -> tuple[Compilation, ...]:
    compilations = compilations_of(link)
    read = files_read(compilations)
    if unread := unread_files(change, read, tree):
        progress(f"changed, but read by no compilation of the object: {', '.join(unread)}")
    return stale_units(compilations, read, change, tree)


def _pair(
    request: BuildRequest,
    sources: tuple[Source, ...],
    old: Phase,
    new: Phase,
    tree: Path,
    progress: Progress,
) -> BuiltPair:
    work = tree.parent
    old_objects = _store(old.link, work / "objects-old", {})
    shared = {i.key: old_objects[i.name] for i in old.link.inputs}
    digests = {i.key: i.digest for i in old.link.inputs}
    same = {i.key for i in new.link.inputs if digests.get(i.key) == i.digest}
    new_objects = _store(new.link, work / "objects-new", {k: shared[k] for k in same})
    units = pair_units(old.link, new.link, old_objects, new_objects, tree, progress)
    old_link = place(old.link, _store_output(old.link, work / "linked-old", request), old_objects)
    new_link = place(new.link, _store_output(new.link, work / "linked-new", request), new_objects)
    return BuiltPair(
        units=units,
        unchanged=tuple(p for p in new_link.inputs if p in set(old_link.inputs)),
        old_link=old_link,
        new_link=new_link,
        running=_running(request, old_link),
        compilers=_compilers([*compilations_of(old.link), *compilations_of(new.link)]),
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
