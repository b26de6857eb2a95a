"""The repository on disk: what is served, what waits for signatures, and the lock.

`published/` holds static files only, and is what a web server or an object store serves. Files
there are added, never changed, except `timestamp.json`, whose replacement is what publishes.
`staged/` holds changed roles that wait for signatures. Refuses to work beside another publisher.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec

from naht.errors import BusyError, HostileInputError, UsageError
from naht.releases.files import replace_file
from naht.releases.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP

MAX_METADATA = 16 << 20
SETTINGS = "repository.json"

Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]


class Periods(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many days each kind of role is valid. The shorter, the sooner a host notices that it
    is shown an old state; the timestamp's is the longest that a freeze can go unseen."""

    root: Days = 365
    targets: Days = 365
    channel: Days = 180
    product: Days = 180
    snapshot: Days = 30
    timestamp: Days = 7

    def of(self, role: str) -> int:
        if role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
            days: int = getattr(self, role)
            return days
        return self.product if "_" in role else self.channel


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    periods: Periods = Periods()
    schema: Literal["naht.repository/1"] = "naht.repository/1"


class RepositoryFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.published = path / "published"
        self.metadata = self.published / "metadata"
        self.targets = self.published / "targets"
        self.staged = path / "staged"

    @classmethod
    def create(cls, path: Path, settings: Settings) -> RepositoryFolder:
        folder = cls(path)
        if (path / SETTINGS).exists() or folder.metadata.exists():
            raise UsageError(f"{path} holds a repository already.", "Choose another folder.")
        for directory in (folder.metadata, folder.targets, folder.staged):
            directory.mkdir(parents=True, exist_ok=True)
        write_file(path / SETTINGS, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
        return folder

    def settings(self) -> Settings:
        path = self.path / SETTINGS
        try:
            return msgspec.json.decode(path.read_bytes(), type=Settings)
        except OSError as error:
            raise UsageError(
                f"{self.path} holds no repository: {path.name}: {error.strerror}.",
                "Make one with `naht repo init`.",
            ) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not understood: {error}.", "Correct it.") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        self.settings()
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"Cannot write in {self.path}: {error.strerror}.", "Check whose it is."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise BusyError(
                f"Somebody else is changing {self.path}.", "Try again when that is done."
            ) from error
        finally:
            os.close(descriptor)

    def read_metadata(self, role: str, version: int | None) -> bytes:
        return read_bounded(self.metadata / metadata_name(role, version))

    def write_metadata(self, role: str, version: int | None, raw: bytes) -> None:
        write_file(self.metadata / metadata_name(role, version), raw)

    def newest_root(self) -> int:
        """Roots are in no snapshot: clients take version after version until there is none."""
        version = 0
        while (self.metadata / metadata_name(ROOT, version + 1)).exists():
            version += 1
        return version

    def staged_roles(self) -> dict[str, bytes]:
        found = {}
        for path in sorted(self.staged.glob("*.json")):
            found[path.name.removesuffix(".json")] = read_bounded(path)
        return found

    def stage(self, roles: dict[str, bytes]) -> None:
        self.staged.mkdir(exist_ok=True)
        for role, raw in roles.items():
            write_file(self.staged / metadata_name(role, None), raw)

    def clear_staged(self, roles: Iterable[str]) -> None:
        for role in roles:
            (self.staged / metadata_name(role, None)).unlink(missing_ok=True)

    def target_file(self, path: str, digest: str) -> Path:
        directory, _, name = path.rpartition("/")
        return self.targets / directory / f"{digest}.{name}"

    def write_target(self, path: str, content: bytes) -> None:
        target = self.target_file(path, hashlib.sha256(content).hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, content)

    def copy_target(self, source: str, path: str, digest: str) -> None:
        """The very same file under another channel, once its content was checked again."""
        old, new = self.target_file(source, digest), self.target_file(path, digest)
        if digest_of(old) != digest:
            raise HostileInputError(
                f"{old} is not what was signed.", "Bring the file back, then promote again."
            )
        new.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(old, new)


def metadata_name(role: str, version: int | None) -> str:
    name = f"{quote(role, '')}.json"
    return name if version is None else f"{version}.{name}"


def read_bounded(path: Path, limit: int = MAX_METADATA) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(
            f"Cannot read {path}: {error.strerror}.", "Bring the file back from a copy."
        ) from error
    if len(raw) > limit:
        raise HostileInputError(f"{path} is too large.", "Bring the file back from a copy.")
    return raw


def digest_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(
            f"Cannot read {path}: {error.strerror}.", "Bring the file back from a copy."
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the power fails; readable by the web server."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror}.", "Check the folder and the disk."
        ) from error
