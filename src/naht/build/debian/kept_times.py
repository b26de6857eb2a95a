"""Gives files that were written again as they were their old time back, between a side's makes.

Owns one comparison of an overlay's upper directory with what lies below. A make that configures the
package anew writes the same headers with a new time, and the next one would compile everything. It
leaves alone what compilers and linkers wrote, and what was touched on purpose.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_STAMPS = frozenset({".lo", ".la"})  # libtool's texts, by whose time makes judge objects


def keep_times(upper: Path, below: Path, shown: Path, but: Collection[Path]) -> None:
    """`shown`: where the overlay is mounted; `but`: paths in there."""
    for written in _files(upper):
        name = written.relative_to(upper)
        kept = shown / name in but or name.suffix in _STAMPS
        if not kept and _is_same(written, below / name):
            was = (below / name).stat()
            os.utime(shown / name, ns=(was.st_atime_ns, was.st_mtime_ns))


def _files(directory: Path) -> Iterator[Path]:
    """Regular ones; whiteouts of deleted files are devices."""
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _is_same(written: Path, before: Path) -> bool:
    try:
        return stat.S_ISREG(before.lstat().st_mode) and filecmp.cmp(written, before, shallow=False)
    except OSError:
        return False
