"""The library lists what is well-formed and nobody else could have written; the rest it names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from naht.errors import HostileInputError, UsageError
from naht.hotpatch import library as library_module
from naht.hotpatch.library import load_listed, read_library
from tests.builders.small_hotpatch import SmallHotpatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "hotpatches"
    made.mkdir(mode=0o755)
    return made


def add(folder: Path, hotpatch: SmallHotpatch, name: str = "small.naht") -> Path:
    path = Path(shutil.copy(hotpatch.path, folder / name))
    path.chmod(0o644)
    return path


def test_indexed_by_build_id(folder: Path, small_hotpatch: SmallHotpatch) -> None:
    path = add(folder, small_hotpatch)
    add(folder, small_hotpatch, "again.naht")  # the same content is one hotpatch
    (folder / "notes.txt").write_text("not a hotpatch")
    (folder / ".draft.naht").write_text("not one yet")
    library = read_library(folder)
    assert library.problems == ()
    (listed,) = library.hotpatches
    build_id = small_hotpatch.manifest.images[0].target.build_id
    assert library.by_build_id() == {build_id: (listed,)}
    assert load_listed(listed).manifest == small_hotpatch.manifest
    path.unlink()
    (folder / "again.naht").unlink()
    with pytest.raises(HostileInputError):
        load_listed(listed)


def test_what_changed_since_it_was_listed_is_refused(
    folder: Path, small_hotpatch: SmallHotpatch
) -> None:
    path = add(folder, small_hotpatch)
    (listed,) = read_library(folder).hotpatches
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(HostileInputError):
        load_listed(listed)


@pytest.mark.parametrize("kind", ["garbage", "empty", "link", "pipe", "directory", "writable"])
def test_what_is_not_usable_is_named_and_the_others_are_listed(
    folder: Path, small_hotpatch: SmallHotpatch, kind: str
) -> None:
    add(folder, small_hotpatch)
    bad = folder / "bad.naht"
    if kind == "garbage":
        bad.write_bytes(b"PK\x05\x06" + bytes(40))
    elif kind == "empty":
        bad.touch()
    elif kind == "link":
        bad.symlink_to(small_hotpatch.path)
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "directory":
        bad.mkdir()
    else:
        add(folder, small_hotpatch, "bad.naht").chmod(0o666)
    library = read_library(folder)
    assert [listed.path.name for listed in library.hotpatches] == ["small.naht"]
    (problem,) = library.problems
    assert problem.path == str(bad)
    assert problem.cause


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_directory_that_others_can_write_to_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(UsageError, match="can be written by others"):
        read_library(folder)


def test_no_directory(folder: Path) -> None:
    with pytest.raises(UsageError, match="--hotpatches"):
        read_library(folder / "none")


def test_no_more_than_can_be_looked_through(
    folder: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_module, "MAX_FILES", 1)
    add(folder, small_hotpatch)
    add(folder, small_hotpatch, "tail.naht")
    library = read_library(folder)
    assert [listed.path.name for listed in library.hotpatches] == ["small.naht"]
    assert len(library.problems) == 1
