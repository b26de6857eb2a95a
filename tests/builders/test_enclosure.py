"""What runs inside sees only what it should, and ends with us."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from naht.build.debian.clean_root import host_root
from naht.build.debian.enclosure import BUILDER, Layered

pytestmark = pytest.mark.compiler

PATIENCE = 60.0  # seconds; only how long a failure takes

LONG = """
import sys
from pathlib import Path
from naht.build.debian.clean_root import host_root
from naht.build.debian.enclosure import BUILDER
enclosure = host_root().enclosure(Path(sys.argv[1]))
command = ["sh", "-c", "sleep 1000 & exec sleep 1000." + sys.argv[2]]
enclosure.run(command, Path(sys.argv[1]) / "log", user=int(sys.argv[3]))
"""


def running(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[:2] == [b"sleep", f"1000.{mark}".encode()]:
                found.append(int(entry.name))
    return found


def wait_until(mark: str, *, present: bool) -> bool:
    end = time.monotonic() + PATIENCE
    while bool(running(mark)) != present and time.monotonic() < end:
        time.sleep(0.05)
    return bool(running(mark)) == present


@pytest.mark.parametrize("user", [0, BUILDER])
def test_all_inside_ends_when_we_are_killed(tmp_path: Path, user: int) -> None:
    mark = f"{os.getpid()}{user}"
    ours = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path), mark, str(user)])
    try:
        assert wait_until(mark, present=True)
        (inside,) = running(mark)
        namespace = (Path("/proc") / str(inside) / "ns/pid").readlink()
        ours.kill()
        assert wait_until(mark, present=False)
        end = time.monotonic() + PATIENCE
        while namespace in _pid_namespaces() and time.monotonic() < end:
            time.sleep(0.05)
        assert namespace not in _pid_namespaces()
    finally:
        ours.kill()
        ours.wait()


def _pid_namespaces() -> list[Path]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "ns/pid").readlink())
            except OSError:
                continue
    return found


def test_nothing_written_inside_reaches_the_host(tmp_path: Path) -> None:
    enclosure = host_root().enclosure(tmp_path / "scratch")
    log = tmp_path / "log"
    mark = f"/naht-test-{os.getpid()}"
    assert enclosure.run(["sh", "-c", f"echo x > {mark} && cat {mark}"], log) == 0
    assert log.read_text() == "x\n"
    assert not Path(mark).exists()


def test_there_is_no_network(tmp_path: Path) -> None:
    log = tmp_path / "log"
    host_root().enclosure(tmp_path / "scratch").run(["cat", "/proc/net/dev"], log)
    names = [line.split(":")[0].strip() for line in log.read_text().splitlines()[2:]]
    assert set(names) <= {"lo", "tunl0", "sit0", "ip6tnl0", "erspan0", "gre0", "gretap0", "ip_vti0",
                          "ip6_vti0", "ip6gre0"}  # fmt: skip


def test_layers_below_are_never_written(tmp_path: Path) -> None:
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for directory in (lower, upper, work):
        directory.mkdir()
    (lower / "file").write_text("old")
    mounts = (Layered("/layered", (str(lower),), str(upper), str(work)),)
    enclosure = host_root().enclosure(tmp_path / "scratch", mounts)
    assert enclosure.run(["sh", "-c", "echo new > /layered/file"], tmp_path / "log") == 0
    assert (lower / "file").read_text() == "old"
    assert (upper / "file").read_text() == "new\n"


def test_the_status_of_the_command_is_handed_on(tmp_path: Path) -> None:
    enclosure = host_root().enclosure(tmp_path / "scratch")
    assert enclosure.run(["sh", "-c", "exit 7"], tmp_path / "log") == 7
    assert enclosure.run(["no-such-command"], tmp_path / "log") == 127
    assert "no-such-command" in (tmp_path / "log").read_text()


def test_settings_of_the_machine_cannot_be_written_even_by_root_inside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    inside = host_root().enclosure(tmp_path / "scratch")
    script = "cd /proc/sys/kernel; for f in core_pattern modprobe; do test ! -w $f || echo $f; done"
    assert inside.run(["sh", "-c", script], log) == 0
    assert log.read_text() == ""


def test_devices_among_the_layers_are_dead(tmp_path: Path) -> None:
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for directory in (lower, upper, work):
        directory.mkdir()
    os.mknod(lower / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    mounts = (Layered("/layered", (str(lower),), str(upper), str(work)),)
    enclosure = host_root().enclosure(tmp_path / "scratch", mounts)
    log = tmp_path / "log"
    assert enclosure.run(["cat", "/dev/null"], log) == 0
    assert enclosure.run(["cat", "/layered/null"], log) != 0
