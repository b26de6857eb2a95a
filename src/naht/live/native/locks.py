"""One naht at a time on one process: an advisory lock that ends with its holder.

Two patchers could each take memory of a dead hotpatch back, the second one after the target had
put the place to other use. The files lie in a folder that only this user can write to.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from naht.domain.process import ProcessKey
from naht.errors import BusyError, ToolError

PATIENCE_S = 10.0


@contextmanager
def lock_process(key: ProcessKey) -> Iterator[None]:
    """Holds the lock of that process. BusyError when another naht keeps it for long."""
    path = f"{_folder()}/{key.pid}-{key.start_time}"
    descriptor = _lock(path, key)
    try:
        yield
    finally:
        # Unlinked while still locked: whoever waits for it sees that the file is gone.
        with suppress(OSError):  # somebody tidied up
            os.unlink(path)  # noqa: PTH108
        os.close(descriptor)


def _lock(path: str, key: ProcessKey) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise BusyError(
                    f"Another naht is at work on process {key.pid}.",
                    "Run it again when it is done.",
                ) from None
            time.sleep(0.01)
        os.close(descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ToolError(
            f"Cannot make {path}: {error.strerror}.",
            "Let this user write there, then try again.",
        ) from error


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))  # noqa: PTH116
    except FileNotFoundError:
        return False


def _folder() -> str:
    path = "/run/naht" if os.geteuid() == 0 else f"/tmp/naht-{os.geteuid()}"  # noqa: S108
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileExistsError:
        pass
    except OSError as error:
        raise ToolError(f"Cannot make {path}: {error.strerror}.", "Make it, mode 0700.") from error
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ToolError(
            f"{path} is not a folder that only this user can write to.",
            f"Remove it: rm -r {path}",
        )
    return path
