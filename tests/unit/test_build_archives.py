from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naht.build.native.archives import read_archive
from naht.errors import HostileInputError

CONTENTS = {"a.o": b"odd", "b.o": b"even", "a_name_longer_than_fifteen.o": b"x" * 77}


@pytest.fixture
def members(tmp_path: Path) -> list[str]:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return list(CONTENTS)


@pytest.mark.parametrize("mode", ["rc", "rcs", "rcT"])
def test_members_come_back(tmp_path: Path, members: list[str], mode: str) -> None:
    subprocess.run(["ar", mode, "lib.a", *members], cwd=tmp_path, check=True)
    archive = tmp_path / "lib.a"
    assert {m.name: m.content for m in read_archive(archive, archive)} == CONTENTS


def test_members_of_one_name_are_both_there(tmp_path: Path, members: list[str]) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.o").write_bytes(b"another")
    subprocess.run(["ar", "qc", "lib.a", *members, "more/a.o"], cwd=tmp_path, check=True)
    archive = tmp_path / "lib.a"
    same = [m.content for m in read_archive(archive, archive) if m.name == "a.o"]
    assert same == [b"odd", b"another"]


@pytest.fixture(scope="module")
def sound_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    subprocess.run(["ar", "rcD", "lib.a", *CONTENTS], cwd=folder, check=True)
    return folder / "lib.a"


@settings(deadline=None)
@given(st.data())
def test_a_damaged_archive_is_read_or_refused(sound_archive: Path, data: st.DataObject) -> None:
    raw = bytearray(sound_archive.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=6)):
        raw[at] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    damaged = sound_archive.with_name("damaged.a")
    damaged.write_bytes(raw)
    try:
        found = read_archive(damaged, damaged)
    except HostileInputError:
        return
    assert sum(len(m.content) for m in found) <= len(raw)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lib.a"
    path.write_bytes(b"\x7fELF")
    with pytest.raises(HostileInputError, match="no archive magic"):
        read_archive(path, path)
