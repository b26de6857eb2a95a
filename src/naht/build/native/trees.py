"""Copies, compares and synchronises source trees.

Refuses trees that are missing or that hold the work directory. Products of an earlier build in the
given trees are not sources: objects are never taken from the new tree, and directories that CMake
or Meson configured for another place are left out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from naht.errors import UsageError
from naht.hotpatch.manifest import Source

_SOURCE_SUFFIXES = frozenset({".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".s", ".S", ".sx"})
_CONFIGURED = ("CMakeCache.txt", "meson-private")


@dataclass(frozen=True)
class TreeChange:
    """What differs between two trees, as sorted paths relative to them."""

    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def written(self) -> tuple[str, ...]:
        return tuple(sorted((*self.changed, *self.added)))


def check_tree(tree: Path, workspace: Path | None = None) -> None:
    if not tree.is_dir():
        raise UsageError(f"{tree} is not a directory.", "Give the top of a source tree.")
    if workspace and workspace.resolve().is_relative_to(tree.resolve()):
        raise UsageError(
            f"The work directory {workspace} lies inside the source tree {tree}.",
            "Set TMPDIR to a directory outside of it.",
        )


def copy_tree(source: Path, target: Path) -> tuple[str, ...]:
    """Copies with times and modes, so that makefiles see the same ages. Returns what was left out:
    build directories that were configured for the place of `source`."""
    left_out: list[str] = []

    def ignore(directory: str, names: list[str]) -> set[str]:
        skipped = {n for n in names if _is_left_out(Path(directory, n))}
        if Path(directory, "CMakeCache.txt").is_file():  # an in-source build
            skipped |= {"CMakeCache.txt", "CMakeFiles"} & set(names)
        left_out.extend(str(Path(directory, n).relative_to(source)) for n in sorted(skipped))
        return skipped

    shutil.copytree(source, target, symlinks=True, ignore=ignore)
    return tuple(left_out)


def duplicate_tree(source: Path, target: Path) -> None:
    """Everything, with times and modes."""
    shutil.copytree(source, target, symlinks=True, ignore=_special_files)


def _special_files(directory: str, names: list[str]) -> set[str]:
    return {n for n in names if not _is_copied(Path(directory, n).lstat().st_mode)}


def _is_copied(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)


def _is_left_out(path: Path) -> bool:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return any((path / name).exists() for name in _CONFIGURED)
    return not _is_copied(mode)  # sockets, pipes, devices


def compare_trees(old: Path, new: Path) -> TreeChange:
    before, after = dict(_entries(old)), dict(_entries(new))
    both = sorted(before.keys() & after.keys())
    return TreeChange(
        changed=tuple(n for n in both if not _same(old / n, new / n)),
        added=tuple(sorted(after.keys() - before.keys())),
        removed=_removed_sources(old, before.keys() - after.keys()),
    )


def _removed_sources(old: Path, gone: Iterable[str]) -> tuple[str, ...]:
    """In a tree that was built in place, only files that are surely sources count as removed: the
    rest are products (config.h, Makefile) which a clean new tree cannot have."""
    built = is_built(old)
    return tuple(sorted(n for n in gone if not built or Path(n).suffix in _SOURCE_SUFFIXES))


def _entries(tree: Path) -> Iterator[tuple[str, None]]:
    for directory, directories, files in os.walk(tree):
        here = Path(directory)
        links = [d for d in directories if (here / d).is_symlink()]
        directories[:] = sorted(
            d for d in directories if d not in links and d != ".git"
            and not _is_left_out(here / d)
        )  # fmt: skip
        for name in sorted(files + links):
            path = here / name
            if path.is_symlink() or (not _is_left_out(path) and not _is_product(path)):
                yield str(path.relative_to(tree)), None


def _is_product(path: Path) -> bool:
    """An object, archive, library or program: made by a build, and not synchronised."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(8).startswith((b"\x7fELF", b"!<arch>\n", b"!<thin>\n"))


def is_built(tree: Path) -> bool:
    """Whether objects of an earlier build lie in the tree."""
    return any(
        _is_product(Path(directory, name))
        for directory, _, files in os.walk(tree) for name in files
    )  # fmt: skip


def _same(old: Path, new: Path) -> bool:
    a, b = old.lstat(), new.lstat()
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        return False
    if stat.S_ISLNK(a.st_mode):
        return old.readlink() == new.readlink()
    executable = (a.st_mode ^ b.st_mode) & 0o100
    return not executable and a.st_size == b.st_size and old.read_bytes() == new.read_bytes()


def synchronise(change: TreeChange, new: Path, tree: Path) -> None:
    """Makes the work tree the new one, writing only what differs, dated now."""
    for name in change.removed:
        (tree / name).unlink(missing_ok=True)
    for name in change.written:
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(new / name, target, follow_symlinks=False)
        if not target.is_symlink():
            shutil.copymode(new / name, target)
    touch(tree / name for name in change.written)


def touch(paths: Iterable[Path]) -> None:
    now = time.time_ns()
    for path in paths:
        for follow in (True, False):  # make looks through a link, unless it is run with -L
            if path.exists() or not follow:
                os.utime(path, ns=(now, now), follow_symlinks=follow)


def touch_sources(tree: Path) -> None:
    """So that objects of an earlier build, which nothing recorded, are made again."""
    touch(
        Path(directory, name)
        for directory, _, files in os.walk(tree)
        for name in files
        if Path(name).suffix in _SOURCE_SUFFIXES
    )


def source_digests(change: TreeChange, old: Path, new: Path) -> tuple[Source, ...]:
    names = sorted({*change.changed, *change.added, *change.removed})
    return tuple(
        Source(
            path=name,
            old_digest=_digest(old / name) if name not in change.added else "",
            new_digest=_digest(new / name) if name not in change.removed else "",
        )
        for name in names
    )


def _digest(path: Path) -> str:
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return hashlib.sha256(content).hexdigest()
