"""Owns the directory in which one change is built. Its name depends on the change alone, so that
paths which compilers put into code (__FILE__) are the same every time.

Refuses a directory that somebody else owns; waits while another build of the same change runs.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from naht.errors import UsageError


@contextmanager
def open_workspace(key: str, keep: Path | None, progress: Callable[[str], None]) -> Iterator[Path]:
    """An empty private directory; at the end removed, or moved to `keep`."""
    path = Path(tempfile.gettempdir()).resolve() / f"naht-{key[:16]}"
    _check_names(path, keep)
    lock = _lock(path, progress)
    try:
        _empty(path)
        yield path
    finally:
        if keep is not None:
            shutil.move(path, keep)
        else:
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _check_names(path: Path, keep: Path | None) -> None:
    if re.search(r"[\s:]", str(path)):
        raise UsageError(
            f"The work directory {path} has a blank or a colon in its name.",
            "Set TMPDIR to a directory without either.",
        )
    if keep is not None and (keep.exists() or not keep.absolute().parent.is_dir()):
        raise UsageError(
            f"{keep} exists, or its parent does not.", "Give --keep a new name in a directory."
        )


def _lock(path: Path, progress: Callable[[str], None]) -> int:
    """A locked descriptor of the directory that is at `path` once the lock is ours."""
    while True:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _foreign(path) from error
        if os.fstat(lock).st_uid != os.geteuid():
            os.close(lock)
            raise _foreign(path)
        _wait(lock, path, progress)
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
        os.close(lock)  # its owner removed it while we waited


def _wait(lock: int, path: Path, progress: Callable[[str], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress(f"waiting for another build of the same change in {path}…")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _empty(path: Path) -> None:
    path.chmod(0o700)
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _foreign(path: Path) -> UsageError:
    return UsageError(
        f"The work directory {path} exists and is not ours.",
        "Remove it, or set TMPDIR to a directory of your own.",
    )
