"""A private apt over a local archive: sources, binaries, older versions; the host is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from naht.build.debian.apt import GoneFromArchiveError, PrivateApt
from naht.build.debian.archive import Archive
from naht.build.debian.cache import Cache
from naht.build.debian.older import older_state
from naht.errors import BuildRefusedError, NothingToDoError, ToolError, UsageError
from tests.builders.small_packages import member, write_deb
from tests.builders.small_sources import Patch, Release, SmallSource, archive

pytestmark = pytest.mark.compiler

FILES = {"a.c": "one\ntwo\nthree\n", "b.c": "one\n"}
BASE = Patch("base.patch", {"b.c": "based\n"})
FIX = Patch("CVE-2024-1111.patch", {"a.c": "one\ntwo\nfixed\n"})
LATER = Patch("CVE-2024-2222.patch", {"b.c": "based and fixed\n"})
RELEASES = [
    Release("1:1.0-1", "  * First, with base.patch.\n", [BASE]),
    Release("1:1.0-1+deb12u1", "  * Fix CVE-2024-1111.\n", [BASE, FIX]),
    Release("1:1.0-1+deb12u2", "  * Fix CVE-2024-2222.\n", [BASE, FIX, LATER]),
]
NEWEST = RELEASES[-1].version


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("archive")
    small = SmallSource("small", FILES, RELEASES)
    for release in RELEASES:
        small.build(release.version, root / "pool")
    binaries = [
        # Version, source field, name, architecture: the last two are not what is asked for.
        (NEWEST, "small", "libsmall1", "amd64"),
        (f"{NEWEST}+b1", f"small ({NEWEST})", "small-tools", "amd64"),
        (NEWEST, "small", "libsmall1-dbgsym", "amd64"),
        ("1:1.0-1", "small", "libsmall1", "amd64"),
        (NEWEST, "other", "other", "amd64"),
    ]
    debs = root / "debs"
    debs.mkdir()
    for version, source, name, architecture in binaries:
        fields = {
            "Package": name, "Version": version, "Source": source, "Architecture": architecture,
        }  # fmt: skip
        file = debs / f"{name}_{version.partition(':')[2]}_{architecture}.deb"
        write_deb(file, [member("./usr/share/small", b"x")], fields)
    return root, archive(root, list(debs.glob("*.deb")))


@pytest.fixture
def packages(small_archive: tuple[Path, str], tmp_path: Path) -> Archive:
    cache = Cache(tmp_path / "cache")
    cache.root.mkdir()
    apt = PrivateApt(cache.root / "apt", small_archive[1])
    return Archive(cache, apt, "small", lambda _: None)


def forget(packages: Archive, tmp_path: Path, version: str) -> Archive:
    """The same archive, whose index still lists a version of which the files are gone."""
    root = tmp_path / "poorer"
    shutil.copytree(Path(packages.apt.entries.partition("file:")[2].split()[0]), root)
    for file in (root / "pool").glob(f"small_{version.partition(':')[2]}.*"):
        file.unlink()
    entries = f"Types: deb deb-src\nURIs: file:{root}\nSuites: ./\nTrusted: yes\n"
    return Archive(packages.cache, PrivateApt(tmp_path / "apt2", entries), "small", lambda _: None)


def test_versions_come_newest_first(packages: Archive) -> None:
    assert [each.version for each in packages.versions("small")] == [
        release.version for release in reversed(RELEASES)
    ]
    assert packages.newest_security_version("small") == NEWEST


def test_a_source_is_fetched_unpacked_and_kept(packages: Archive, tmp_path: Path) -> None:
    source = packages.fetch_source("small", NEWEST)
    assert (source.name, source.version) == ("small", NEWEST)
    assert source.tree.parent == tmp_path / "cache/sources" / f"small_{NEWEST.replace(':', '%')}"
    assert (source.tree / "a.c").read_text() == "one\ntwo\nfixed\n"
    packages.apt._configuration.unlink()  # what is kept needs no archive
    assert packages.fetch_source("small", NEWEST) == source


def test_binaries_are_those_of_exactly_that_source_version(packages: Archive) -> None:
    binaries = packages.fetch_binaries(packages.fetch_source("small", NEWEST))
    assert binaries.missing == ()
    assert [file.name for file in sorted(binaries.files)] == [
        "libsmall1-dbgsym_1%3a1.0-1+deb12u2_amd64.deb",
        "libsmall1_1%3a1.0-1+deb12u2_amd64.deb",
        "small-tools_1%3a1.0-1+deb12u2+b1_amd64.deb",
    ]


def test_a_listed_binary_whose_file_is_gone_is_named(packages: Archive, tmp_path: Path) -> None:
    source = packages.fetch_source("small", NEWEST)
    poorer = forget(packages, tmp_path, NEWEST)
    next((tmp_path / "poorer/pool").glob("libsmall1_1.0-1+deb12u2_amd64.deb")).unlink()
    binaries = poorer.fetch_binaries(source)
    assert binaries.missing == ("libsmall1",)
    assert len(binaries.files) == 2


def test_unknown_packages_and_strange_names_are_refused(packages: Archive) -> None:
    with pytest.raises(UsageError, match="no source package unknown"):
        packages.newest_security_version("unknown")
    for name, version in (("-oDir=/x", "1"), ("../small", "1"), ("small", "-1"), ("small", "1/2")):
        with pytest.raises(UsageError):
            packages.fetch_source(name, version)


def test_an_archive_out_of_reach_is_an_error(tmp_path: Path) -> None:
    entries = f"Types: deb-src\nURIs: file:{tmp_path}/none\nSuites: ./\nTrusted: yes\n"
    with pytest.raises(ToolError, match="archives cannot be asked"):
        PrivateApt(tmp_path / "apt", entries).versions("small")


def test_a_listed_version_whose_files_are_gone(packages: Archive, tmp_path: Path) -> None:
    poorer = forget(packages, tmp_path, "1:1.0-1")
    with pytest.raises(GoneFromArchiveError, match=r"1:1\.0-1 cannot be had"):
        poorer.fetch_source("small", "1:1.0-1")


def test_both_versions_from_the_archive(packages: Archive, tmp_path: Path) -> None:
    target = packages.fetch_source("small", NEWEST)
    state = older_state(target, "1:1.0-1", packages, tmp_path / "out")
    assert (state.how, state.patches) == ("archive", ())
    assert (state.tree / "a.c").read_text() == FILES["a.c"]
    assert (state.new / "b.c").read_text() == "based and fixed\n"
    assert changelog(state.new) == changelog(state.tree) == "small (1:1.0-1) stable"


def test_one_patch_on_an_older_version_from_the_archive(packages: Archive, tmp_path: Path) -> None:
    target = packages.fetch_source("small", NEWEST)
    state = older_state(target, "1:1.0-1", packages, tmp_path / "out", [LATER.name])
    assert (state.how, state.patches) == ("archive", (LATER.name,))
    assert (state.new / "a.c").read_text() == FILES["a.c"]
    assert (state.new / "b.c").read_text() == "based and fixed\n"
    assert (state.new / "debian/patches/series").read_text().endswith(f"{LATER.name}\n")


def test_patches_that_the_older_version_has_are_left_out(packages: Archive, tmp_path: Path) -> None:
    target, older = packages.fetch_source("small", NEWEST), RELEASES[1].version
    state = older_state(target, older, packages, tmp_path / "out", [FIX.name, LATER.name])
    assert (state.how, state.patches) == ("archive", (LATER.name,))
    with pytest.raises(NothingToDoError, match=FIX.name):
        older_state(target, older, packages, tmp_path / "out2", [FIX.name])


def test_what_was_added_is_taken_off_when_the_older_source_is_gone(
    packages: Archive, tmp_path: Path
) -> None:
    target = packages.fetch_source("small", NEWEST)
    poorer = forget(packages, tmp_path, RELEASES[1].version)
    state = older_state(target, RELEASES[1].version, poorer, tmp_path / "out")
    assert (state.how, state.patches) == ("unapplied", (LATER.name,))
    assert (state.tree / "b.c").read_text() == "based\n"
    assert (state.tree / "a.c").read_text() == "one\ntwo\nfixed\n"
    assert changelog(state.new) == changelog(state.tree) == "small (1:1.0-1+deb12u1) stable"


def test_named_patches_are_taken_off_when_the_older_source_is_gone(
    packages: Archive, tmp_path: Path
) -> None:
    target = packages.fetch_source("small", NEWEST)
    poorer = forget(packages, tmp_path, "1:1.0-1")
    state = older_state(target, "1:1.0-1", poorer, tmp_path / "out", [FIX.name, LATER.name])
    assert state.patches == (FIX.name, LATER.name)
    with pytest.raises(BuildRefusedError, match=LATER.name) as refusal:
        older_state(target, "1:1.0-1", poorer, tmp_path / "out2", [BASE.name])
    assert refusal.value.reason == "older-state-unknown"


def test_a_version_that_is_not_older_is_wrong_usage(packages: Archive, tmp_path: Path) -> None:
    target = packages.fetch_source("small", RELEASES[1].version)
    for version in (RELEASES[1].version, NEWEST):
        with pytest.raises(UsageError, match="not older"):
            older_state(target, version, packages, tmp_path / "out")


def changelog(tree: Path) -> str:
    return (tree / "debian/changelog").read_text().partition(";")[0]
