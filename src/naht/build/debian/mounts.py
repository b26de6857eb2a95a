"""The kernel's mount calls, as argument lists. Refuses nothing itself: what the kernel refuses is a
ToolError that says which mount.

Called directly, because a clean root need not hold mount(8).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from naht.errors import ToolError

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def make_private() -> None:
    """Nothing mounted from here on is seen outside of this mount namespace."""
    _mount("none", Path("/"), "", MS_REC | MS_PRIVATE)


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    _mount(str(source), target, "", MS_BIND | MS_REC)
    if read_only:
        _mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def overlay(lower: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """`lower` from top to bottom; all changes go to `upper`. Devices in there are dead, and nobody
    gets more rights by what runs from there."""
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    _mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options)


def special(kind: str, target: Path, options: str = "") -> None:
    """proc, tmpfs, devpts."""
    _mount(kind, target, kind, MS_NOSUID, options)


def unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), MNT_DETACH):
        raise _failed("unmount", str(target))


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags),
        os.fsencode(options) or None,
    )  # fmt: skip
    if result:
        raise _failed("mount", f"{source} on {target}")


def _failed(verb: str, what: str) -> ToolError:
    cause = os.strerror(ctypes.get_errno())
    return ToolError(
        f"The kernel did not {verb} {what}: {cause}.",
        "Run as root, and keep the cache on a file system that overlayfs accepts as upper layer "
        "(ext4, xfs, btrfs, tmpfs).",
    )
