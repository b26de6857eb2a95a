"""Sources that the package's own rules copied to other places of the tree before they compiled them
(a directory for each flavour, for each set of flags).

    find_copied_sources(built, base, names) -> {name: names of its copies}
        built: the tree after its build; base: as it was unpacked; names: files in both. All names
        are relative to the trees.

Only whole copies under the same file name are found: what is generated from a source is made anew
by whoever generated it. Refuses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_SKIPPED = frozenset({".git", ".pc"})


def find_copied_sources(
    built: Path, base: Path, names: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(Path(name).name, []).append(name)
    found: dict[str, list[str]] = {}
    for place in _files_named(built, wanted):
        for name in wanted[place.rsplit("/", 1)[-1]]:
            is_made = not os.path.lexists(base / place)
            if place != name and is_made and _same_content(built / place, base / name):
                found.setdefault(name, []).append(place)
    return {name: tuple(sorted(places)) for name, places in found.items()}


def _files_named(tree: Path, wanted: Iterable[str]) -> Iterator[str]:
    """Never through symbolic links: what they lead to is found where it is."""
    names = set(wanted)
    for directory, folders, files in os.walk(tree):
        folders[:] = [f for f in folders if f not in _SKIPPED]
        for file in names.intersection(files):
            yield str((Path(directory) / file).relative_to(tree))


def _same_content(one: Path, other: Path) -> bool:
    if one.is_symlink() or not other.is_file():
        return False
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
