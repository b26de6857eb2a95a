"""dpkg's database, read as dpkg means it, also when somebody hostile wrote it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.package import Package
from naht.live.host import dpkg
from naht.live.host.dpkg import Database, identify, parse_diversions, parse_status
from naht.live.host.places import Packages, Place, container_label, unit_of

STATUS = """\
Package: door
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 1:2.0-1+b2
Source: house (1:2.0-1)
Description: a door
 Version: 9
 .
 Package: trap

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 3

Package: half
Status: install reinstreq half-installed
Architecture: amd64
Version: 3

Package: window
Status: install ok triggers-pending
Architecture: i386
Version: 4-1

Package: window
Status: install ok unpacked
Architecture: amd64
Version: 4-2
Source: glass
"""
LISTS = {
    "door": "/.\n/usr\n/usr/lib/libdoor.so.1\n/lib/liblock.so.2\n",
    "gone": "/usr/lib/libgone.so.1\n",
    "half": "/usr/lib/libhalf.so.1\n",
    "window:i386": "/.\n/usr/lib/i386/libwindow.so\n",
    "window:amd64": "/.\n/usr/lib/amd64/libwindow.so\n/usr/bin/tool\n",
    "wall": "/usr/bin/tool\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    for name, content in LISTS.items():
        (info / f"{name}.list").write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "name", "version", "source", "source_version"),
    [
        ("/usr/lib/libdoor.so.1", "door", "1:2.0-1+b2", "house", "1:2.0-1"),
        ("/usr/lib/liblock.so.2", "door", "1:2.0-1+b2", "house", "1:2.0-1"),  # merged /usr
        ("/lib/libdoor.so.1", "door", "1:2.0-1+b2", "house", "1:2.0-1"),
        ("/usr/lib/i386/libwindow.so", "window", "4-1", "window", "4-1"),
        ("/usr/lib/amd64/libwindow.so", "window", "4-2", "glass", "4-2"),
    ],
)
def test_owner(
    root: Path, path: str, name: str, version: str, source: str, source_version: str
) -> None:
    owner = Database(str(root)).owner(path)
    assert owner is not None
    assert (owner.name, owner.version) == (name, version)
    assert (owner.source, owner.source_version) == (source, source_version)


@pytest.mark.parametrize(
    "path", ["/usr/lib/libgone.so.1", "/usr/lib/libhalf.so.1", "/usr/lib/libdoor.so", "/lib", ""]
)
def test_nobody_owns(root: Path, path: str) -> None:
    """Removed, half unpacked just now, only the beginning of a name, a part of it, nothing."""
    assert Database(str(root)).owner(path) is None


def test_names_are_those_of_packages_and_their_sources(root: Path) -> None:
    assert Database(str(root)).names() == {"door", "house", "window", "glass"}


def test_an_update_that_is_not_merged_yet_counts(root: Path) -> None:
    updates = root / "var/lib/dpkg/updates"
    updates.mkdir()
    (updates / "0001").write_text(
        STATUS.split("\n\n", maxsplit=1)[0].replace("2.0-1", "2.0-2") + "\n"
    )
    (updates / "tmp.i").write_text("Package: door\nArchitecture: amd64\nVersion: 9\n")
    owner = Database(str(root)).owner("/usr/lib/libdoor.so.1")
    assert owner is not None and owner.source_version == "1:2.0-2"


def test_diverted_files(root: Path) -> None:
    diversions = root / "var/lib/dpkg/diversions"
    diversions.write_text("/usr/bin/tool\n/usr/bin/tool.real\nwindow\n")
    (root / "var/lib/dpkg/status").write_text(
        STATUS + "\nPackage: wall\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
    )
    found = {p: Database(str(root)).owner(p) for p in ("/usr/bin/tool", "/usr/bin/tool.real")}
    assert {p: o and o.name for p, o in found.items()} == {
        "/usr/bin/tool": "window", "/usr/bin/tool.real": "wall",
    }  # fmt: skip


def test_links_of_a_container_stay_inside(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its database leads to the host's, by absolute links: below its root there is nothing such."""
    container = tmp_path_factory.mktemp("container")
    (container / "var/lib").mkdir(parents=True)
    (container / "var/lib/dpkg").symlink_to(root / "var/lib/dpkg")
    assert identify(str(container)) is None
    assert Database(str(container)).owner("/usr/lib/libdoor.so.1") is None


@pytest.mark.parametrize("kind", ["pipe", "directory", "nothing"])
def test_no_database(tmp_path: Path, kind: str) -> None:
    where = tmp_path / "var/lib/dpkg"
    where.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(where / "status")
    elif kind == "directory":
        (where / "status").mkdir()
    assert identify(str(tmp_path)) is None
    assert Database(str(tmp_path)).names() == frozenset()


def test_too_long_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpkg, "MAX_STATUS", 100)
    assert Database(str(root)).names() == frozenset()


def test_one_root_never_answers_for_another(root: Path, tmp_path: Path) -> None:
    """The same status file beside other lists, as anybody can mount it in a namespace of theirs."""
    forged = tmp_path / "forged"
    info = forged / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    os.link(root / "var/lib/dpkg/status", info.parent / "status")
    (info / "window:amd64.list").write_text("/usr/lib/libdoor.so.1\n")
    packages = Packages()
    liar = packages.owner((Place(str(forged), "", "c", "mnt:[1]"),), "/usr/lib/libdoor.so.1")
    host = packages.owner((Place(str(root), "", ""),), "/usr/lib/libdoor.so.1")
    assert liar.package is not None and liar.package.name == "window"
    assert host.package is not None and host.package.name == "door"


def test_the_innermost_root_that_owns_it_counts(root: Path, tmp_path: Path) -> None:
    places = (
        Place(str(tmp_path / "empty"), "/srv/jail", "chroot /srv/jail"),
        Place(str(root), "", ""),
    )
    packages = Packages()
    assert packages.owner(places, "/usr/lib/libdoor.so.1").where == ""
    inner = (Place(str(root), "/srv/jail", "chroot /srv/jail"), Place(str(tmp_path / "x"), "", ""))
    owned = packages.owner(inner, "/srv/jail/usr/lib/libdoor.so.1")
    assert owned.where == "chroot /srv/jail"
    assert owned.package is not None and owned.package.name == "door"
    assert packages.owner(inner, "/srv/jailed/usr/lib/libdoor.so.1").package is None


@given(st.binary(max_size=400))
def test_any_status_is_survived(text: bytes) -> None:
    for package in parse_status(text).values():
        assert package is None or isinstance(package, Package)


@given(st.binary(max_size=200))
def test_any_diversions_are_survived(text: bytes) -> None:
    assert all(len((d.shipped, d.now, d.by)) == 3 for d in parse_diversions(text))


def test_this_host_as_dpkg_sees_it() -> None:
    """The real database, against dpkg itself."""
    database = Database("/")
    asked = "${binary:Package}\t${Version}\t${source:Package}\t${source:Version}\n"
    for path in ("/usr/bin/dpkg", "/usr/bin/env", "/etc/debian_version"):
        owner = database.owner(path)
        assert owner is not None
        command = ["dpkg-query", "-W", f"-f={asked}", owner.name]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert shown.rstrip("\n").split("\t")[1:] == [
            owner.version, owner.source, owner.source_version,
        ]  # fmt: skip
        found = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
        assert not found.stdout or owner.name in found.stdout


@pytest.mark.parametrize(
    ("groups", "label", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "container nginx.service", "nginx.service"),
        ("0::/system.slice/docker-3f2a.scope\n", "container docker-3f2a.scope", ""),
        ("12:cpu:/\n0::/lxc.payload.web\n", "container lxc.payload.web", ""),
        ("0::/\n", "container mnt:[1]", ""),
        ("", "container mnt:[1]", ""),
        ("0::/a:b.service/", "container a:b.service", "a:b.service"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service", "container getty@tty1.service",
         "getty@tty1.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
         "container nginx.service", ""),
        ("0::/system.slice/docker-3f2a.scope/system.slice/nginx.service",
         "container nginx.service", ""),
        ("0::/lxc.payload.web/system.slice/nginx.service", "container nginx.service", ""),
    ],
)  # fmt: skip
def test_labels(groups: str, label: str, unit: str) -> None:
    """Only the host's own services can be restarted by their names."""
    assert container_label(groups, "mnt:[1]") == label
    assert unit_of(groups) == unit
