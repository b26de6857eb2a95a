"""Where a process's files live: on the host itself, in a container, in a chroot; and which package
put them there.

Owns the way from a mapped path to the dpkg database that knows it. It follows paths only below the
top of the file system that the process sees, and believes nothing else of a container.
"""

from __future__ import annotations

import os

import msgspec

from naht.domain.package import Package
from naht.errors import NahtError
from naht.live.host.dpkg import Database, Identity, identify
from naht.live.native import procfs
from naht.live.native.disk import DiskView

_OWN_ROOT = "/proc/self/root"
MAX_LABEL = 80


class Place(msgspec.Struct, frozen=True):
    """A root: `base` leads there from here; `prefix` is what the kernel shows before its paths."""

    base: str
    prefix: str
    label: str  # for people; "" for the host itself
    namespace: str = ""  # of mounts, where somebody without rights on the host made them


_HOST = Place(_OWN_ROOT, "", "")


class Owned(msgspec.Struct, frozen=True):
    """A file's package, and where both are."""

    package: Package | None
    where: str


class Location(msgspec.Struct, frozen=True):
    """Where a process lives: its roots, the innermost first, and the unit that started it."""

    places: tuple[Place, ...]
    unit: str = ""


NOWHERE = Location((Place("", "//", ""),))  # no path begins so
"""Of a process that ended, or may not be looked at."""


class Packages:
    """The databases of all roots, each read once, however many processes see it."""

    def __init__(self) -> None:
        self._databases: dict[tuple[Identity, str], Database] = {}

    def owner(self, places: tuple[Place, ...], path: str) -> Owned:
        """`path` as the kernel shows it. The innermost root that owns the file counts."""
        for place in places:
            if not path.startswith(place.prefix + "/"):
                continue
            database = self._database(place)
            inside = path.removeprefix(place.prefix)
            if database and (package := database.owner(inside)):
                return Owned(package, place.label)
        return Owned(None, places[-1].label)

    def names(self) -> frozenset[str]:
        """Of the packages of all roots that were looked into, and of the host's."""
        self._database(_HOST)
        return frozenset().union(*(d.names() for d in self._databases.values()))

    def _database(self, place: Place) -> Database | None:
        identity = identify(place.base)
        if identity is None:
            return None
        # The same status file beside other lists is another database: whoever has a namespace of
        # their own can mount them so, and must not answer for others.
        key = (identity, place.namespace)
        if key not in self._databases:
            self._databases[key] = Database(place.base)
        return self._databases[key]


def locate(pid: int) -> Location:
    view = DiskView.of(pid)
    foreign = "" if user_namespace(pid) == user_namespace(os.getpid()) else view.namespace
    groups = _groups(pid)
    # A service with mounts of its own still sees the host's root, and is no container.
    if not foreign and _is_same(view.base, _OWN_ROOT):
        top = _HOST
    else:
        telling = groups if groups != _groups(os.getpid()) else ""  # our own names no other
        top = Place(view.base, "", container_label(telling, view.namespace), foreign)
    if view.root == "/":
        return Location((top,), unit_of(groups))
    inner = f"{top.label} chroot {view.root}".strip()
    chroot = Place(f"/proc/{pid}/root", view.root, inner, foreign)
    return Location((chroot, top), unit_of(groups))


def user_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/user")  # noqa: PTH115
    except OSError as error:
        raise procfs.as_target_error(pid, error) from error


def _groups(pid: int) -> str:
    try:
        return procfs.read_text(pid, "cgroup", 1 << 16).decode("utf-8", "replace")
    except NahtError:
        return ""


def container_label(groups: str, namespace: str) -> str:
    """By its control group, as container managers name it; else by its mount namespace."""
    name = next(filter(None, map(_last_part, groups.splitlines())), "")
    return f"container {name or namespace}"[:MAX_LABEL]


def unit_of(groups: str) -> str:
    """The service of the host's own systemd that the process belongs to; "" where there is none.

    Managers of users, and those in containers, have services of the same names, which the host's
    `systemctl restart` does not mean: theirs lie below a service or scope, not in slices alone."""
    for line in groups.splitlines():
        *above, name = [part for part in line.split(":", 2)[-1].split("/") if part] or [""]
        if name.endswith(".service") and all(part.endswith(".slice") for part in above):
            return "" if name.startswith("user@") else name
    return ""


def _last_part(group: str) -> str:
    return group.split(":", 2)[-1].rstrip("/").rpartition("/")[2]


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))  # noqa: PTH116
    except OSError:
        return False
