"""Builds the old and the new tree at the same place and pairs what changed.

Refuses when a change can't be followed from source to linked object: nothing changed, a unit that
was not rebuilt, an object whose compilation was not seen. It judges no change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from naht.build.compile_pair import BuiltPair
from naht.build.native import trees
from naht.build.native.dependencies import files_read, stale_units, unread_files
from naht.build.native.link_search import is_elf
from naht.build.native.pair_phases import PairFacts, PairingPlace, pair_phases
from naht.build.native.patching import apply_patches
from naht.build.native.phases import build_new, build_old, check_rebuilt, compilations_of
from naht.build.native.request import BuildRequest, Progress
from naht.build.native.toolchain import install_recorder
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
        where = PairingPlace(tree, work, lambda: _show_old(work, tree))
        running = _running(request)
        facts = PairFacts(Path(request.object).name, request.command, sources, running)
        yield pair_phases(old, new, where, facts, progress)


def _show_old(work: Path, tree: Path) -> None:
    tree.rename(work / "tree-new")
    (work / "tree-old").rename(tree)


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


def _running(request: BuildRequest) -> Path | None:
    if request.running is not None:
        return request.running
    shipped = request.old / request.object
    return shipped if is_elf(shipped) else None
