"""Scan says what runs, and whether the file on disk is still the one that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.domain.process import ScannedObject, ScannedProcess
from naht.live.native import procfs
from naht.live.native.scan import Scanner, scan_processes
from tests.builders.live_programs import (
    Program,
    a_kernel_thread,
    build_id_of,
    compile_library,
    compile_program,
    running,
    wait_until,
)

pytestmark = [pytest.mark.live, pytest.mark.compiler]

LOADS = """
#include <dlfcn.h>
int main(int argc, char **argv)
{
    if (!dlopen(argv[1], RTLD_NOW)) { puts(dlerror()); return 1; }
    say(getpid()); ready(); wait_for_end(); return 0;
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan")


@pytest.fixture(scope="module")
def loader(place: Path) -> Path:
    return compile_program(place, "loader", LOADS)


@pytest.fixture(scope="module")
def old(place: Path) -> Path:
    return compile_library(place, "old.so", "int answer(void) { return 1; }")


@pytest.fixture(scope="module")
def new(place: Path) -> Path:
    return compile_library(place, "new.so", "int answer(void) { return 2; }")


@contextmanager
def loading(loader: Path, library: Path | str) -> Iterator[Program]:
    with running([loader, library]) as process:
        process.numbers_until_ready()
        yield process


def scanned(pid: int, build_id: str = "") -> ScannedProcess:
    process = Scanner(build_id).scan(pid)
    assert process is not None
    return process


def the_library(pid: int, build: Path, wanted: str = "") -> ScannedObject:
    build_id = build_id_of(build)
    (found,) = [o for o in scanned(pid, wanted).objects if o.object.build_id == build_id]
    return found


def replace(target: Path, by: Path) -> None:
    """As a package manager does it: a new file, renamed over the old one."""
    fresh = target.with_suffix(".new")
    shutil.copy(by, fresh)
    fresh.rename(target)


def test_a_file_that_is_what_runs(tmp_path: Path, loader: Path, old: Path, new: Path) -> None:
    library = Path(shutil.copy(old, tmp_path / "lib.so"))
    with loading(loader, library) as process:
        found = the_library(process.pid, old, build_id_of(old))
        assert (found.stale, found.disk_build_id, found.fits) == (False, build_id_of(old), True)
        assert found.applied == ()
        assert not the_library(process.pid, old, build_id_of(new)).fits
        assert not the_library(process.pid, old).fits
        names = {Path(o.object.path).name for o in scanned(process.pid).objects}
        assert {"loader", "lib.so", "libc.so.6", "ld-linux-x86-64.so.2"} <= names


def test_a_file_that_was_replaced(tmp_path: Path, loader: Path, old: Path, new: Path) -> None:
    library = Path(shutil.copy(old, tmp_path / "lib.so"))
    with loading(loader, library) as process:
        replace(library, new)
        found = the_library(process.pid, old)
        assert found.object.path == f"{library} (deleted)"
        assert (found.stale, found.disk_build_id) == (True, build_id_of(new))
        replace(library, old)  # installed again as it was: a restart would change nothing
        assert not the_library(process.pid, old).stale


def test_a_file_that_is_gone(tmp_path: Path, loader: Path, old: Path) -> None:
    library = Path(shutil.copy(old, tmp_path / "lib.so"))
    with loading(loader, library) as process:
        library.unlink()
        found = the_library(process.pid, old)
        assert (found.stale, found.disk_build_id) == (True, "")


def test_a_name_that_looks_deleted(tmp_path: Path, loader: Path, old: Path) -> None:
    library = Path(shutil.copy(old, tmp_path / "lib.so (deleted)"))
    with loading(loader, library) as process:
        assert not the_library(process.pid, old).stale


@pytest.mark.parametrize("kind", ["pipe", "directory", "text", "loop"])
def test_something_else_in_its_place(tmp_path: Path, loader: Path, old: Path, kind: str) -> None:
    library = Path(shutil.copy(old, tmp_path / "lib.so"))
    with loading(loader, library) as process:
        library.unlink()
        if kind == "pipe":
            os.mkfifo(library)
        elif kind == "directory":
            library.mkdir()
        elif kind == "text":
            library.write_text("not an object")
        else:
            library.symlink_to(library)
        found = the_library(process.pid, old)
        assert (found.stale, found.disk_build_id) == (True, "")


def test_a_memfd_is_never_stale(loader: Path, old: Path) -> None:
    memfd = os.memfd_create("lib", 0)
    os.write(memfd, old.read_bytes())
    with loading(loader, f"/proc/{os.getpid()}/fd/{memfd}") as process:
        found = the_library(process.pid, old)
        assert (found.stale, found.disk_build_id) == (False, "")
    os.close(memfd)


def test_another_mount_namespace_has_files_of_its_own(
    tmp_path: Path, loader: Path, old: Path, new: Path
) -> None:
    """The same path holds the new build on the host and the old one in the container."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shutil.copy(new, shared / "lib.so")
    script = f"mount -t tmpfs none {shared} && cp {old} {shared}/lib.so && "
    script += f"ln -s {shared}/lib.so {shared}/link.so && {loader} {shared}/lib.so; exit"
    with running(["unshare", "-mpf", "--kill-child", "sh", "-c", script]) as namespace:
        namespace.numbers_until_ready()
        (pid,) = [
            p.key.pid for p in scan_processes() if p.command.startswith(str(loader)) and p.objects
        ]
        found = the_library(pid, old)
        assert (found.stale, found.disk_build_id) == (False, build_id_of(old))
        inside = Path(f"/proc/{pid}/root") / str(shared)[1:] / "lib.so"
        replace(inside, new)
        found = the_library(pid, old)
        assert (found.stale, found.disk_build_id) == (True, build_id_of(new))


def test_links_of_a_container_stay_inside(
    tmp_path: Path, loader: Path, old: Path, new: Path
) -> None:
    """An absolute link in a container means the container's file, not the host's."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shutil.copy(new, shared / "real.so")
    script = f"mount -t tmpfs none {shared} && cp {old} {shared}/real.so && "
    script += f"cp {old} {shared}/lib.so && {loader} {shared}/lib.so; exit"
    with running(["unshare", "-mpf", "--kill-child", "sh", "-c", script]) as namespace:
        namespace.numbers_until_ready()
        (pid,) = [
            p.key.pid for p in scan_processes() if p.command.startswith(str(loader)) and p.objects
        ]
        library = Path(f"/proc/{pid}/root") / str(shared)[1:] / "lib.so"
        library.unlink()
        library.symlink_to(shared / "real.so")
        assert not the_library(pid, old).stale


def test_a_chroot(tmp_path: Path, old: Path, new: Path) -> None:
    source = LOADS.replace(
        "if (!dlopen(argv[1]", 'chroot(argv[2]); chdir("/"); if (!dlopen(argv[1]'
    )
    program = compile_program(tmp_path, "jailed", source, "-Wl,-z,now")
    jail = tmp_path / "jail"
    jail.mkdir()
    library = Path(shutil.copy(old, jail / "lib.so"))
    with running([program, "/lib.so", jail]) as process:
        process.numbers_until_ready()
        assert the_library(process.pid, old).object.path == str(library)
        assert not the_library(process.pid, old).stale
        replace(library, new)
        assert the_library(process.pid, old).stale


def test_unreadable_zombies_and_ourselves(loader: Path, old: Path) -> None:
    kernel_thread = a_kernel_thread()
    with loading(loader, old) as process:
        everything = {p.key.pid: p for p in scan_processes(build_id_of(old))}
        assert any(o.fits for o in everything[process.pid].objects)
        assert os.getpid() not in everything
        assert kernel_thread not in everything
        process.process.kill()
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        assert Scanner("").scan(process.pid) is None
    assert Scanner("").scan(process.pid) is None


REBUILT = 'const char *const words[] = {"one", "two"}; int answer(void) { return words[0][0]; }'
ID, OTHER_ID = "0x" + "ab" * 20, "0x" + "cd" * 20


def build_again(where: Path, name: str, source: str, build_id: str) -> Path:
    """Without the mark that makes every other build of these tests its own."""
    code = where / f"{name}.c"
    code.write_text(source)
    library = where / f"{name}.so"
    flags = ["-O1", "-shared", "-fPIC", "-Wl,-soname,rebuilt", "-s", f"-Wl,--build-id={build_id}"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(code)], check=True)
    return library


@pytest.mark.parametrize(
    ("source", "build_id", "rebuilt"),
    [
        (REBUILT, OTHER_ID, True),
        (REBUILT.replace("[0][0]", "[1][0]"), OTHER_ID, False),  # other code
        (REBUILT.replace("two", "six"), OTHER_ID, False),  # another constant
        (REBUILT + " int grown[4];", OTHER_ID, False),  # other data
        (REBUILT, OTHER_ID[:-2], False),  # a build-id of another length moves what follows
    ],
)
def test_rebuilt_with_the_same_code(
    tmp_path: Path, loader: Path, source: str, build_id: str, rebuilt: bool
) -> None:
    before = build_again(tmp_path, "before", REBUILT, ID)
    after = build_again(tmp_path, "after", source, build_id)
    library = Path(shutil.copy(before, tmp_path / "lib.so"))
    with loading(loader, library) as process:
        replace(library, after)
        found = the_library(process.pid, before)
        assert found.disk_build_id == build_id[2:]
        assert (found.rebuilt, found.stale) == (rebuilt, not rebuilt)


def test_a_name_that_changed_behind_the_soname(
    tmp_path: Path, loader: Path, old: Path, new: Path
) -> None:
    """A new upstream version brings another file name; the loader goes by the SONAME's link."""
    library = Path(shutil.copy(old, tmp_path / "old.so.1.0"))
    link = tmp_path / "old.so"  # its SONAME
    link.symlink_to("old.so.1.0")
    with loading(loader, link) as process:
        assert not the_library(process.pid, old).stale
        shutil.copy(new, tmp_path / "old.so.1.1")
        link.unlink()
        link.symlink_to("old.so.1.1")
        library.unlink()
        found = the_library(process.pid, old)
        assert (found.stale, found.disk_build_id) == (True, build_id_of(new))
        assert found.installed_path == str(link)


def test_an_object_without_a_build_id(tmp_path: Path, loader: Path) -> None:
    plain = compile_library(tmp_path, "plain.so", "int n;", "-Wl,--build-id=none")
    library = Path(shutil.copy(plain, tmp_path / "lib.so"))

    def look(pid: int) -> ScannedObject:
        return next(o for o in scanned(pid).objects if o.object.path.startswith(str(library)))

    with loading(loader, library) as process:
        assert (look(process.pid).stale, look(process.pid).object.build_id) == (False, "")
        replace(library, plain)
        assert look(process.pid).stale  # nothing says that it is the same
        library.unlink()
        assert look(process.pid).stale
