"""Gets one target, resuming where an earlier try was cut off, from one mirror after the other.

What it returns are the bytes that were verified, not a path to them. A part that was kept is only
believed once the whole has the signed length and hash; else it is thrown away and the mirror gets
one more try from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile

from naht.errors import NahtError, ToolError, UntrustedError, UsageError
from naht.releases.client.trust import Mirror, refused, unreachable

_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def download(target: TargetFile, mirrors: Sequence[Mirror], cache: Path, limit: int) -> bytes:
    """From the cache where it is there and still right."""
    digest = target.hashes.get("sha256", "")
    if len(digest) != 64 or target.length > limit:
        raise refused("malformed", mirrors[0].address, f"{target.path} has no usable hash or size")
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = cache / digest
    whole = _read_kept(kept, target)
    if whole is None:
        whole = _from_any(target, mirrors, cache / f"{digest}.part")
        (cache / f"{digest}.part").replace(kept)
    return whole


def _read_kept(path: Path, target: TargetFile) -> bytes | None:
    try:
        with path.open("rb") as stream:
            raw = stream.read(target.length + 1)
        target.verify_length_and_hashes(raw)
    except (OSError, tuf_errors.LengthOrHashMismatchError):
        return None
    return raw


def _from_any(target: TargetFile, mirrors: Sequence[Mirror], part: Path) -> bytes:
    failures: list[NahtError] = []
    for mirror in mirrors:
        try:
            return _from_one(target, mirror, part)
        except (UntrustedError, ToolError) as error:
            failures.append(error)
    raise next((f for f in failures if isinstance(f, UntrustedError)), failures[-1])


def _from_one(target: TargetFile, mirror: Mirror, part: Path) -> bytes:
    resumed = part.exists()
    try:
        return _attempt(target, mirror, part)
    except UntrustedError:
        part.unlink(missing_ok=True)  # what was kept, or what came: one of them is wrong
        if not resumed:
            raise
    return _attempt(target, mirror, part)


def _attempt(target: TargetFile, mirror: Mirror, part: Path) -> bytes:
    url = f"{mirror.url}targets/{target.get_prefixed_paths()[0]}"
    try:
        with os.fdopen(os.open(part, _OPEN_FLAGS, 0o600), "r+b") as stream:
            offset = min(stream.seek(0, os.SEEK_END), target.length)
            if offset < target.length or not target.length:
                _receive(url, target, mirror, stream.fileno(), offset)
            stream.seek(0)
            raw = stream.read(target.length + 1)
        target.verify_length_and_hashes(raw)
    except tuf_errors.LengthOrHashMismatchError as error:
        if part.stat().st_size < target.length:
            raise unreachable(mirror.address, Exception("the file came only in part")) from error
        raise refused("altered", mirror.address, f"{target.path} is not what was signed") from error
    except tuf_errors.DownloadError as error:
        raise unreachable(mirror.address, error) from error
    except OSError as error:
        raise UsageError(
            f"Cannot keep the download in {part.parent}: {error.strerror}.", "Check the disk."
        ) from error
    return raw


def _receive(url: str, target: TargetFile, mirror: Mirror, descriptor: int, offset: int) -> None:
    with mirror.transport.get(url, offset) as (begins, chunks):
        os.ftruncate(descriptor, begins)
        position = begins
        for chunk in chunks:
            if position + len(chunk) > target.length:
                os.ftruncate(descriptor, 0)
                raise tuf_errors.DownloadError("the server sends more than the signed length")
            position += os.pwrite(descriptor, chunk, position)
