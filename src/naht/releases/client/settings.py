"""Which repository a host takes hotpatches from, and what it forbids: two small files of root's.

Refuses a file that anybody else could have written: it decides whose code runs. Where the policy
cannot be read, nothing unsigned is allowed.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from naht.errors import UntrustedError, UsageError
from naht.releases.roles import check_channel, check_product

SETTINGS = Path("/etc/naht/repository.toml")
POLICY = Path("/etc/naht/policy.toml")
MAX_SIZE = 1 << 20
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # somebody may have put a pipe there


class RepositorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`mirrors`: URLs or folders with `metadata/` and `targets/`, tried in this order. `root`: the
    root of trust, as the repository's makers handed it over, not as a server sent it."""

    mirrors: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=32)]
    product: str
    channel: str = "broad"
    root: str = "/etc/naht/root.json"
    state: str = "/var/lib/naht/repository"


class HostPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    unsigned: Literal["allow", "forbid"] = "allow"  # whether --unsigned-dev works here


def read_settings(path: Path | None = None) -> RepositorySettings:
    chosen = path or SETTINGS
    if path is None and not chosen.exists():
        raise UsageError(
            f"This host has no repository: there is no {chosen}.",
            "Write that file (docs/repository.md), or name another with --repository.",
        )
    settings = _decode(chosen, RepositorySettings)
    check_product(settings.product)
    check_channel(settings.channel)
    return settings


def has_repository() -> bool:
    return SETTINGS.exists()


def read_policy() -> HostPolicy:
    """Everything is allowed where there is no such file: a machine for development."""
    try:
        POLICY.lstat()
    except FileNotFoundError:
        return HostPolicy()
    except OSError as error:
        raise UsageError(f"Cannot read {POLICY}: {error.strerror}.", "Mend the file.") from error
    return _decode(POLICY, HostPolicy)


def forbid_unsigned() -> None:
    """Refuses where the host's policy allows only what the repository vouches for."""
    if read_policy().unsigned == "forbid":
        raise UntrustedError(
            "unsigned-forbidden",
            f"This host takes only what its repository vouches for: {POLICY} says so.",
            "Name the hotpatch by its id, without --unsigned-dev.",
        )


def read_owned(path: Path, limit: int = MAX_SIZE) -> bytes:
    """The content of a file that nobody but root (or you) can have written."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        with os.fdopen(descriptor, "rb") as stream:
            check_owner(path, os.fstat(descriptor))
            raw = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", "Check the path.") from error
    if len(raw) > limit:
        raise UsageError(f"{path} is too large.", "Check what it is.")
    return raw


def check_owner(path: Path, found: os.stat_result) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise UsageError(f"{path} is neither a file nor a folder.", "Check what it is.")
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    raise UsageError(
        f"{path} can be written by others than its owner, root or you.",
        f"Make it root's (or yours), then: chmod go-w {path}",
    )


_Kind = TypeVar("_Kind", RepositorySettings, HostPolicy)


def _decode(path: Path, kind: type[_Kind]) -> _Kind:
    raw = read_owned(path)
    try:
        return msgspec.convert(tomllib.loads(raw.decode()), kind)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not understood: {error}.", "See docs/repository.md."
        ) from error
