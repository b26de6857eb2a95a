"""What is old in a process besides its objects: scripts, and packages' files that it has mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.domain.host import OldFile
from naht.domain.process import ProcessKey, ScannedProcess
from naht.hotpatch.library import Library
from naht.live.host.survey import Surveyor
from naht.live.native.engine import NativeEngine
from naht.live.native.procfs import read_key
from tests.builders.live_programs import Program, compile_program, running, wait_until
from tests.builders.small_hosts import Builds, SmallHost, make_builds

pytestmark = [pytest.mark.live, pytest.mark.compiler]

MAPS = """
#include <fcntl.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int file = open(argv[i], O_RDONLY);
        if (mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) return 1;
    }
    ready(); wait_for_end(); return 0;
}
"""
SCRIPT = "#!/bin/sh\necho ready\nread line\n"


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return make_builds(tmp_path_factory.mktemp("builds"))


@pytest.fixture
def host(tmp_path: Path, builds: Builds) -> SmallHost:
    host = SmallHost(tmp_path / "root", builds)
    listed = host.root / "var/lib/dpkg/info/libdoor1:amd64.list"
    listed.write_text(listed.read_text() + "/opt/door/words.db\n/opt/door/keeper\n")
    return host


@contextmanager
def running_inside(host: SmallHost, *command: str) -> Iterator[Program]:
    with running(host.entering("container", *command)) as program:
        program.numbers_until_ready()
        yield program


def old_files(pid: int, tmp_path: Path) -> list[OldFile]:
    surveyor = Surveyor(NativeEngine(), Library(tmp_path))
    return list(surveyor.old_files(surveyor.survey([pid]).processes))


def write(host: SmallHost, name: str, text: str) -> Path:
    fresh = host.root / "opt/door/fresh"
    fresh.write_text(text)
    fresh.chmod(0o755)
    return fresh.rename(host.root / "opt/door" / name)


def test_data_of_a_package_that_was_replaced(host: SmallHost, tmp_path: Path) -> None:
    compile_program(host.root / "opt/door", "maps", MAPS)
    words, own = write(host, "words.db", "sesame"), write(host, "own.tmp", "mine")
    inside = [f"/opt/door/{name}" for name in ("words.db", "own.tmp")]
    with running_inside(host, "/opt/door/maps", *inside) as program:
        assert old_files(program.pid, tmp_path) == []
        own.unlink()  # no package's: what a program makes and unlinks is its own business
        words.unlink()
        (found,) = old_files(program.pid, tmp_path)
        assert (found.kind, found.path) == ("data", "/opt/door/words.db")
        assert found.package is not None and found.package.name == "libdoor1"
        write(host, "words.db", "open")
        assert [f.path for f in old_files(program.pid, tmp_path)] == ["/opt/door/words.db"]


def test_a_script_that_was_replaced(host: SmallHost, tmp_path: Path) -> None:
    keeper = write(host, "keeper", SCRIPT)
    with running_inside(host, "/opt/door/keeper") as program:
        assert old_files(program.pid, tmp_path) == []
        in_a_minute(program, keeper)
        (found,) = old_files(program.pid, tmp_path)
        assert (found.kind, found.path) == ("script", "/opt/door/keeper")
        assert found.package is not None and found.package.name == "libdoor1"
        keeper.write_text("no script any more")
        assert old_files(program.pid, tmp_path) == []


def in_a_minute(program: Program, script: Path) -> None:
    """Touches it until its time of change is clearly later than the process: the kernel's clock for
    files and its count of ticks need not agree to the second."""

    def changed() -> bool:
        os.utime(script)
        key: ProcessKey = read_key(program.pid)
        process = ScannedProcess(key, "", ())
        surveyor = Surveyor(NativeEngine(), Library(script.parent))
        return bool(list(surveyor.old_files([process])))

    wait_until(changed)
