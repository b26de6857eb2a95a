"""Whether a process's control group is frozen, in version 1 and version 2 hierarchies.

Owns finding the groups' files through the mounts that we see; a group that our mounts don't show
counts as not frozen, and the engine's time limit for stopping a process covers it. Only reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec

_OCTAL = re.compile(r"\\([0-7]{3})")
ReadFile = Callable[[str], str]


class GroupMount(msgspec.Struct, frozen=True):
    version: int  # 1: the freezer hierarchy; 2: the unified one
    root: str  # the group that is mounted
    point: str


def frozen_group(groups: str, mounts: tuple[GroupMount, ...], read: ReadFile) -> str:
    """The path of the group that is frozen (or being frozen), or "".

    `groups` is the text of /proc/PID/cgroup; `read` returns "" for a file that is not there.
    """
    for version, path in _freezable(groups):
        for mount in mounts:
            if mount.version != version or not _is_below(path, mount.root):
                continue
            directory = mount.point + path[len(mount.root.rstrip("/")) :].rstrip("/")
            if _is_frozen(version, mount.point, directory, read):
                return path
    return ""


def _freezable(groups: str) -> Iterator[tuple[int, str]]:
    for line in groups.splitlines():
        identity, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "freezer" in controllers.split(","):
            yield 1, path
        elif identity == "0" and not controllers:
            yield 2, path


def _is_below(path: str, root: str) -> bool:
    return "/../" not in path + "/" and (
        root in ("/", path) or path.startswith(root.rstrip("/") + "/")
    )


def _is_frozen(version: int, top: str, directory: str, read: ReadFile) -> bool:
    if version == 1:  # the state of a group is FROZEN for that of a parent, too
        return read(f"{directory}/freezer.state").strip() in ("FROZEN", "FREEZING")
    if "frozen 1" in read(f"{directory}/cgroup.events").splitlines():
        return True
    # While the freezing goes on, only the group that was told to freeze says so.
    while directory != top and directory.startswith(top):
        if read(f"{directory}/cgroup.freeze").strip() == "1":
            return True
        directory = directory.rpartition("/")[0]
    return False


def parse_mounts(mountinfo: str) -> tuple[GroupMount, ...]:
    """The control group hierarchies that matter, from /proc/self/mountinfo (proc(5))."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.partition(" ")
        words = fields.split()
        if len(words) < 5:
            continue
        root, point = _unescape(words[3]), _unescape(words[4])
        if kind == "cgroup2":
            found.append(GroupMount(2, root, point))
        elif kind == "cgroup" and "freezer" in options.rpartition(" ")[2].split(","):
            found.append(GroupMount(1, root, point))
    return tuple(found)


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


@lru_cache(maxsize=1)
def own_mounts() -> tuple[GroupMount, ...]:
    return parse_mounts(read_file("/proc/self/mountinfo"))


def read_file(path: str) -> str:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  (pathlib is slow to load)
            return stream.read().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
