"""A directory of hotpatch files, indexed by the build-ids they are for.

It lists what is there and vouches for nothing: a listed hotpatch is as unproven as any file. What
somebody else could have written or could still change is not listed, nor is what is no well-formed
hotpatch; each is a `Problem`, and the others are listed all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from naht.errors import HostileInputError, NahtError, UsageError
from naht.hotpatch.container import MAX_FILE_SIZE, HotpatchFile, unpack_hotpatch
from naht.hotpatch.manifest import Manifest

SUFFIX = ".naht"
MAX_FILES = 10_000
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Not blocking: somebody may have put a pipe there.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Listed(msgspec.Struct, frozen=True):
    """A hotpatch of the library, without its images. `digest` is that of the whole file."""

    path: Path
    digest: str
    manifest: Manifest

    @property
    def build_ids(self) -> tuple[str, ...]:
        return tuple(image.target.build_id for image in self.manifest.images)


class Problem(msgspec.Struct, frozen=True):
    path: str
    cause: str


class Library(msgspec.Struct, frozen=True):
    directory: Path
    hotpatches: tuple[Listed, ...] = ()
    problems: tuple[Problem, ...] = ()

    def by_build_id(self) -> dict[str, tuple[Listed, ...]]:
        found: dict[str, tuple[Listed, ...]] = {}
        for listed in self.hotpatches:
            for build_id in dict.fromkeys(listed.build_ids):
                found[build_id] = (*found.get(build_id, ()), listed)
        return found


def read_library(directory: Path) -> Library:
    """Raises UsageError when there is no such directory, or anybody could write to it."""
    names = _names(directory)
    listed: dict[str, Listed] = {}
    problems: list[Problem] = []
    for name in names[:MAX_FILES]:
        path = directory / name
        try:
            file = _read(path)
        except NahtError as error:
            problems.append(Problem(str(path), error.cause))
            continue
        listed.setdefault(file.digest, Listed(path, file.digest, file.manifest))
    problems += _too_many(directory, names)
    return Library(directory, tuple(listed.values()), tuple(problems))


def load_listed(listed: Listed) -> HotpatchFile:
    """The whole hotpatch; refuses (HostileInputError) what is no longer what was listed."""
    file = _read(listed.path)
    if file.digest != listed.digest:
        raise HostileInputError(
            f"{listed.path} changed while it was used.", "Run the command again."
        )
    return file


def _names(directory: Path) -> Sequence[str]:
    try:
        _check_owner(directory.stat(), str(directory))
        return sorted(n for n in os.listdir(directory) if _is_name(n))  # noqa: PTH208
    except OSError as error:
        raise UsageError(
            f"Cannot read the hotpatches in {directory}: {error.strerror}.",
            "Make the directory, or name another one with --hotpatches.",
        ) from error
    except HostileInputError as error:
        raise UsageError(error.cause, error.next_step) from error


def _is_name(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")  # drafts are hidden


def _too_many(directory: Path, names: Sequence[str]) -> Iterable[Problem]:
    if len(names) > MAX_FILES:
        yield Problem(str(directory), f"Of {len(names)} files only {MAX_FILES} are listed.")


def _read(path: Path) -> HotpatchFile:
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise HostileInputError(f"It cannot be opened: {error.strerror}.", "Remove it.") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_SIZE:
            raise HostileInputError("It is no regular file of at most 256 MiB.", "Remove it.")
        _check_owner(found, "The file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return unpack_hotpatch(stream.read(MAX_FILE_SIZE + 1))
    finally:
        os.close(descriptor)


def _check_owner(found: os.stat_result, what: str) -> None:
    """Who can write a hotpatch can run code in every process that it fits."""
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & _WRITABLE_BY_OTHERS:
        return
    raise HostileInputError(
        f"{what} can be written by others than its owner, root or you.",
        "Make it root's (or yours), and take the right to write from all others: chmod go-w.",
    )
