"""The build cache: directories keyed by the content that determines them. An entry is complete or
it is made anew; two builds never make the same one at once.

Refuses to trust an entry that was not sealed, and to let other accounts into one: what lies there
belongs to the account number of the clean roots, which a person may have on this host, and clean
roots hold set-user-id programs that nobody updates. It removes nothing by itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SEAL, _FAILED = "complete", "failed"


@dataclass(frozen=True)
class Entry:
    path: Path

    @property
    def complete(self) -> bool:
        return (self.path / _SEAL).is_file()

    @property
    def failure(self) -> str:
        """Why it could not be made; "" when that was never tried, or worked."""
        note = self.path / _FAILED
        return note.read_text() if note.is_file() else ""

    def fail(self, why: str) -> None:
        """What was made so far stays to be looked at, and is not tried again."""
        (self.path / _FAILED).write_text(why)

    def seal(self) -> None:
        """Call when all of the content is there: from now on it is used."""
        self.close()
        (self.path / _SEAL).touch()

    def open(self) -> None:
        """While tools are at work that give up root's rights themselves."""
        self.path.chmod(0o755)

    def close(self) -> None:
        if self.path.stat().st_uid == os.geteuid():
            self.path.chmod(0o700)


@dataclass(frozen=True)
class Cache:
    root: Path

    @contextmanager
    def entry(self, kind: str, key: str) -> Iterator[Entry]:
        """Locked while the context lasts; empty unless complete."""
        directory = self.root / kind
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / f".{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entry = Entry(directory / key)
            if not (entry.complete or entry.failure) and entry.path.exists():
                shutil.rmtree(entry.path)
            entry.path.mkdir(mode=0o700, exist_ok=True)
            entry.close()
            yield entry
        finally:
            os.close(lock)
