"""What this host has of a version stands in for what the archive lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from naht.build.debian.installed import packages_installed_from, source_of_installed
from naht.build.debian.shipped import read_installed
from naht.errors import UsageError


def owner_of(path: Path) -> str:
    said = subprocess.run(["dpkg", "-S", str(path)], capture_output=True, text=True, check=True)
    return said.stdout.partition(":")[0]


def test_every_object_of_an_installed_version_is_found(tmp_path: Path) -> None:
    package = owner_of(Path("/usr/bin/sort"))
    known = source_of_installed(package)
    found = dict(packages_installed_from(known.source, known.source_version))
    objects = {o.path: o for o in read_installed(package, found[package], tmp_path)}
    sort = objects["usr/bin/sort"]
    assert (sort.kind, sort.name) == ("object", f"{package}:usr/bin/sort")
    assert sort.file.read_bytes() == Path("/usr/bin/sort").read_bytes()
    assert sort.build_id is not None
    assert not any(o.file.is_symlink() for o in objects.values())


def test_another_version_has_nothing_here() -> None:
    known = source_of_installed(owner_of(Path("/usr/bin/sort")))
    assert not dict(packages_installed_from(known.source, f"{known.source_version}+other"))


def test_links_texts_and_what_is_gone_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh, and more")
    (tmp_path / "link").symlink_to("/usr/bin/sort")
    files = [tmp_path / name for name in ("text", "link", "gone", ".")]
    assert not list(read_installed("p", files, tmp_path / "into"))


def test_what_is_not_installed_is_refused() -> None:
    with pytest.raises(UsageError):
        source_of_installed("no-such-package-here")
