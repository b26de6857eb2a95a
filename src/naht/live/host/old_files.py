"""What is old in a process besides its objects: the script that its interpreter runs, and files of
packages that it has mapped as data. No hotpatch is for such; people must know of them all the same.

It knows no interpreter: a script is a file on the command line that begins with "#!". What a script
imported later, and data that was read rather than mapped, leaves no trace in a process that could
be trusted, and is not looked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from naht.domain.host import OldFile, OtherKind
from naht.domain.process import ScannedProcess
from naht.errors import NahtError
from naht.live.host.places import Location, Packages, locate
from naht.live.native import procfs
from naht.live.native.disk import open_below
from naht.live.native.scan import DELETED

MAX_FOUND = 64  # of one process
_SCRIPT_WORDS = slice(1, 3)  # the kernel passes: interpreter [one option] script (execve(2))


def find_old_files(process: ScannedProcess, packages: Packages) -> Iterator[OldFile]:
    pid = process.key.pid
    try:
        data = _replaced_data(process)
        scripts = _scripts(pid)
        if not (data or scripts):
            return
        location = locate(pid)
        scripts = [s for s in scripts if _changed_since(location, s, process.key.start_time)]
    except NahtError:
        return  # it ended meanwhile
    for path in data:
        found = _describe(process, "data", path, location, packages)
        if found.package:  # programs map and unlink files of their own as they like
            yield found
    for path in scripts:
        shown = location.places[0].prefix + path
        yield _describe(process, "script", shown, location, packages)


def _describe(
    process: ScannedProcess, kind: OtherKind, path: str, location: Location, packages: Packages
) -> OldFile:
    owned = packages.owner(location.places, path)
    return OldFile(
        key=process.key, command=process.command, kind=kind, path=path, where=owned.where,
        unit=location.unit, package=owned.package,
    )  # fmt: skip


def _replaced_data(process: ScannedProcess) -> list[str]:
    """Paths of mapped files that were unlinked, and are no objects."""
    text = procfs.read_text(process.key.pid, "maps")
    mark = DELETED.encode()
    if mark not in text:
        return []
    lines = b"\n".join(line for line in text.split(b"\n") if line.endswith(mark))
    objects = {(o.object.device, o.object.inode) for o in process.objects}
    paths = {
        mapping.path.removesuffix(DELETED)
        for mapping in procfs.parse_maps(lines)
        if mapping.inode and (mapping.device, mapping.inode) not in objects
    }
    return sorted(paths)[:MAX_FOUND]


def _scripts(pid: int) -> list[str]:
    words = procfs.read_text(pid, "cmdline", procfs.MAX_COMMAND).split(b"\0")[_SCRIPT_WORDS]
    return [os.fsdecode(word) for word in words if word.startswith(b"/")]


def _changed_since(location: Location, path: str, start_time: int) -> bool:
    """Whether there is a script at the path (of the process's own root) that came later than the
    process. Its time of change counts: packages set the time of modification back."""
    place = location.places[0]
    try:
        descriptor = open_below(place.base, path)
    except OSError:
        return False
    try:
        changed = os.fstat(descriptor).st_ctime
        return changed > _started(start_time) + 1 and os.pread(descriptor, 2, 0) == b"#!"
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _started(ticks: int) -> float:
    """Seconds since the epoch; the kernel counts ticks since boot."""
    return _boot_time() + ticks / os.sysconf("SC_CLK_TCK")


@lru_cache(maxsize=1)
def _boot_time() -> int:
    with Path("/proc/stat").open(encoding="ascii") as stream:
        return next((int(line.split()[1]) for line in stream if line.startswith("btime ")), 0)
