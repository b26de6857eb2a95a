"""Small hosts: roots of their own with a dpkg database, in which the door of examples/ is installed
and runs; old and new builds of its library, and the hotpatch that leads from one to the other.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from naht.elf.file import ElfFile
from tests.builders.door import EXAMPLE, Door, connect, free_port, make_door, naht
from tests.builders.live_programs import Program, compile_program, running

OLD_VERSION, NEW_VERSION, NEWER_VERSION = "1.0-1", "1.0-1+deb12u1", "1.0-1+deb12u2"
LINKS = ("bin", "lib", "lib64")
# The process keeps its PID on the way in; what is mounted is gone with it.
SHARE_SYSTEM = "mount --bind /usr {root}/usr && mount -t proc proc {root}/proc"
PIVOT = f"mount --bind {{root}} {{root}} && {SHARE_SYSTEM} && cd {{root}} && pivot_root . .old && "
PIVOT += "/usr/bin/umount -l /.old && exec {command}"
ENTER = {"container": PIVOT, "chroot": SHARE_SYSTEM + " && exec chroot {root} {command}"}
# Loaded from its root, it goes into an empty directory, as daemons do to be safer.
JAILED = r"""
#include <dlfcn.h>
int main(int argc, char **argv)
{
    void *door = dlopen("/opt/door/libdoor.so.1", RTLD_NOW);
    int (*opens)(const char *) = door ? dlsym(door, "door_opens") : 0;
    char line[64];
    if (!opens || chroot("/empty") || chdir("/")) { perror("jailed"); return 1; }
    ready();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        say(opens(line));
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Builds:
    """Folders with `doord` and `libdoor.so.1`."""

    old: Path
    new: Path

    def build_id(self, which: str) -> str:
        path = (self.old if which == "old" else self.new) / "libdoor.so.1"
        found = ElfFile(path.read_bytes()).build_id
        assert found
        return found


def make_builds(folder: Path) -> Builds:
    old = make_door(folder)
    new = folder / "new"
    shutil.copytree(EXAMPLE / "source", new)
    patch = (EXAMPLE / "fix.patch").read_bytes()
    subprocess.run(["patch", "-s", "-p1"], cwd=new, input=patch, check=True)
    subprocess.run(["make", "-s"], cwd=new, check=True)
    return Builds(old, new)


def build_hotpatch(
    builds: Builds, target: Path, *brings_to: str, name: str = "DOOR-1", level: int = 1,
    purl: str = f"pkg:deb/debian/door@{OLD_VERSION}",
) -> Path:  # fmt: skip
    """`brings_to`: VERSION or VERSION=BUILD-ID."""
    words = naht(
        "build", "native", "--source", EXAMPLE / "source", "--patch", EXAMPLE / "fix.patch",
        "--command", "make", "--object", "libdoor.so.1", "--running", builds.old / "libdoor.so.1",
        "--id", name, "--cve", "CVE-2026-0001", "--level", str(level), "--purl", purl,
        "-o", target, *(["--brings-to", *brings_to] if brings_to else []),
    )  # fmt: skip
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return target


class SmallHost:
    """A root that shares the system's own files, with packages of its own."""

    def __init__(self, root: Path, builds: Builds) -> None:
        self.root = root
        self.builds = builds
        for name in ("usr", "proc", "empty", ".old", "opt/door", "var/lib/dpkg/info"):
            (root / name).mkdir(parents=True)
        for name in LINKS:
            (root / name).symlink_to(f"usr/{name}")
        self.install("old", OLD_VERSION)

    def install(self, which: str, version: str) -> None:
        """As dpkg does it: new files, renamed over the old ones. The program stays as it was."""
        library = self.builds.old if which == "old" else self.builds.new
        self.replace(self.builds.old / "doord", "doord")
        self.replace(library / "libdoor.so.1", "libdoor.so.1")
        self.register(version)

    def replace(self, source: Path, name: str) -> None:
        fresh = self.root / f"opt/door/{name}.dpkg-new"
        shutil.copy(source, fresh)
        fresh.rename(self.root / "opt/door" / name)

    def register(self, version: str) -> None:
        database = self.root / "var/lib/dpkg"
        stanza = (
            "Package: libdoor1\nStatus: install ok installed\nArchitecture: amd64\n"
            f"Source: door ({version})\nVersion: {version}\nDescription: a door\n that opens\n"
        )
        fresh = database / "status-new"
        fresh.write_text(f"Package: other\nStatus: deinstall ok config-files\n\n{stanza}\n")
        fresh.rename(database / "status")
        (database / "info/libdoor1:amd64.list").write_text(
            "/.\n/opt\n/opt/door\n/opt/door/doord\n/opt/door/libdoor.so.1\n"
        )

    def entering(self, kind: str, *command: str) -> list[str]:
        """The command line that runs `command` inside."""
        script = ENTER[kind].format(root=self.root, command=" ".join(command))
        return ["unshare", "--mount", "sh", "-c", script]

    @contextmanager
    def running_door(self, kind: str = "container") -> Iterator[Door]:
        port = free_port()
        process = subprocess.Popen(self.entering(kind, "/opt/door/doord", str(port)))
        try:
            with connect(port, process) as connection:
                yield Door(process.pid, connection)
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def running_jailed(self, kind: str = "container") -> Iterator[Program]:
        compile_program(self.root / "opt/door", "jailed", JAILED)
        with running(self.entering(kind, "/opt/door/jailed")) as program:
            program.numbers_until_ready()
            yield program
