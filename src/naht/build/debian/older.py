"""older_state(target: SourcePackage, from_version: str, archive: Sources, into: Path,
            patches: Sequence[str] = ()) -> OlderState

The source of an older version beside the fixed one. Both come out of the archive where it still
has the older one; else the patches that the newer version added are un-applied. Both trees end up
with the older version's changelog, so that version texts that come from it are no change.

Refuses to guess: where it is in doubt which patches were added, it lists the candidates.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from naht.build.debian.added_patches import added_patches
from naht.build.debian.apt import GoneFromArchiveError
from naht.build.debian.changelog import cut_back, read_changelog, split_at
from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.quilt import copy_tree, copy_with, find_patches, state_before
from naht.build.debian.source import SourcePackage
from naht.build.debian.versions import upstream_version, version_key
from naht.errors import BuildRefusedError, NothingToDoError, UsageError


class Sources(Protocol):
    def fetch_source(self, name: str, version: str) -> SourcePackage: ...


@dataclass(frozen=True)
class OlderState:
    tree: Path  # the source of what runs
    new: Path  # the fixed source
    how: Literal["archive", "unapplied"]
    patches: tuple[str, ...]  # what `new` has more; empty: all that is between two versions
    note: str  # for people and the manifest


def older_state(
    target: SourcePackage,
    from_version: str,
    archive: Sources,
    into: Path,
    patches: Sequence[str] = (),
) -> OlderState:
    """`patches` of the target version: nothing else changes."""
    _check_order(target, from_version)
    if patches:
        patches = find_patches(target, PatchStack.of(target.tree), patches)
    if older := _from_archive(target, from_version, archive):
        return _both(target, older, into, tuple(patches))
    return _unapplied(target, from_version, into, tuple(patches))


def _check_order(target: SourcePackage, from_version: str) -> None:
    if version_key(from_version) >= version_key(target.version):
        raise UsageError(
            f"{from_version} is not older than {target.version}.",
            "--from is the version that runs, --to the fixed one.",
        )


def _from_archive(target: SourcePackage, version: str, archive: Sources) -> SourcePackage | None:
    try:
        return archive.fetch_source(target.name, version)
    except GoneFromArchiveError:
        return None


def _both(
    target: SourcePackage, older: SourcePackage, into: Path, patches: tuple[str, ...]
) -> OlderState:
    new = into / "new"
    if patches:
        patches = _not_yet_in(older, target, patches)
        copy_with(older.tree, patches, target.tree, new)
        note = f"{older.version} from the archive; put on it: {', '.join(patches)}"
    else:
        copy_tree(target.tree, new)
        note = f"{older.version} and {target.version} from the archive"
        (new / "debian/changelog").write_bytes((older.tree / "debian/changelog").read_bytes())
    return OlderState(older.tree, new, "archive", patches, note)


def _not_yet_in(
    older: SourcePackage, target: SourcePackage, patches: tuple[str, ...]
) -> tuple[str, ...]:
    """A CVE is often fixed by several patches, of which the older version has some."""
    had, has = PatchStack.of(older.tree), PatchStack.of(target.tree)
    missing = tuple(
        name
        for name in patches
        if name not in had.applied or not filecmp.cmp(had.file(name), has.file(name), shallow=False)
    )
    if not missing:
        raise NothingToDoError(
            f"{older.version} has {', '.join(patches)} already.",
            "Name an older version with --from, or other patches.",
        )
    return missing


def _unapplied(
    target: SourcePackage, from_version: str, into: Path, patches: tuple[str, ...]
) -> OlderState:
    newer, older = split_at(read_changelog(target.tree), from_version)
    if upstream_version(from_version) != upstream_version(target.version):
        raise BuildRefusedError(
            "older-state-unknown",
            f"{target.version} has another upstream version than {from_version}, and the archive "
            "no longer has the source of the older one.",
            "Take a --from version that the archive has, or fetch the source and use "
            "`naht build native`.",
        )
    patches = patches or added_patches(PatchStack.of(target.tree), newer, older)
    pair = state_before(target, patches, into)
    if pair.left_out:
        raise BuildRefusedError(
            "older-state-unknown",
            f"Other patches build on what was added: {', '.join(pair.left_out)}.",
            "If the newer version added them, too, name them all with --patch.",
        )
    new = into / "new"
    copy_tree(target.tree, new)
    for tree in (pair.old, new):
        cut_back(tree, from_version)
    return OlderState(pair.old, new, "unapplied", pair.patches, pair.how)
