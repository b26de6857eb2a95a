"""The build-id of the file that is now at a path, in the file system that a process sees.

Owns the way there: through /proc/PID/root, so that containers and chroots are reached, with
symbolic links followed below the top of that file system and never out of it. What is no regular
file is not opened for reading. Everything read is bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque

import msgspec

from naht.domain.build_id import BuildId
from naht.elf import constants as c
from naht.elf.file import ElfFile, find_build_id
from naht.errors import HostileInputError
from naht.live.native import procfs

MAX_HEAD = 64 << 10
MAX_NOTES = 64 << 10
MAX_COMPONENTS = 256
# Not blocking: somebody may have put a pipe there.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class DiskView(msgspec.Struct, frozen=True):
    """From where to follow a process's paths as the kernel shows them to us: `base` is the top of
    the mounts that it sees. `root` is its own root, below that, as the kernel names it."""

    base: str
    namespace: str
    root: str

    @classmethod
    def of(cls, pid: int) -> DiskView:
        try:
            root = os.readlink(f"/proc/{pid}/root")  # noqa: PTH115
        except OSError as error:
            raise procfs.as_target_error(pid, error) from error
        namespace = procfs.mount_namespace(pid)
        if namespace == procfs.mount_namespace(os.getpid()):
            return cls("/proc/self/root", namespace, root)  # such paths are shown from our root
        # A daemon in a container may have gone into a chroot after it was loaded; for us, unlike
        # for it, ".." leads out of there, up to the container's own top.
        depth = len([name for name in root.split("/") if name])
        return cls(f"/proc/{pid}/root" + "/.." * depth, namespace, root)


def is_file(view: DiskView, path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(resolve_below(view.base, path)).st_mode)
    except OSError:
        return False


def disk_build_id(view: DiskView, path: str) -> BuildId | None:
    """None when there is no such file, or it is no ELF object with a build-id."""
    try:
        descriptor = open_below(view.base, path)
    except OSError:
        return None
    try:
        return _read_build_id(descriptor)
    except (OSError, HostileInputError):
        return None
    finally:
        os.close(descriptor)


def open_below(base: str, path: str) -> int:
    """A descriptor of a regular file. Raises OSError for anything else."""
    descriptor = os.open(resolve_below(base, path), _OPEN_FLAGS)
    if not _is_regular(descriptor):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return descriptor


def resolve_below(base: str, path: str) -> str:
    """The path with its symbolic links followed below `base`: the kernel would follow an absolute
    one from our own root."""
    # maps writes a newline in a name as \\012.
    done, left = base, deque(path.replace("\\012", "\n").split("/"))
    for _ in range(MAX_COMPONENTS):
        if not left:
            return done
        name = left.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0] if done != base else base
            continue
        target = _link_target(f"{done}/{name}")
        if target is None:
            done = f"{done}/{name}"
        else:
            done = base if target.startswith("/") else done
            left.extendleft(reversed(target.split("/")))
    raise OSError(errno.ELOOP, path)


def _link_target(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return None


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _read_build_id(descriptor: int) -> BuildId | None:
    elf = ElfFile(os.pread(descriptor, MAX_HEAD, 0))
    for segment in elf.segments:
        if segment.type == c.PT_NOTE and segment.file_size <= MAX_NOTES:
            notes = os.pread(descriptor, segment.file_size, segment.offset)
            if found := find_build_id(notes, segment.alignment):
                return found
    return None
