"""One build of an older version serves all hotpatches that are made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from naht.build.debian.builder import _state
from naht.build.debian.older import OlderState
from naht.build.debian.request import DebianRequest
from naht.build.debian.source import SourcePackage

TARGET = SourcePackage("pond", "1-2", Path("/pond.dsc"), Path("/target"))
REQUEST = DebianRequest(source="pond", from_version="1-1", to_version="1-2", output=Path("/out"))


def identity(how: Literal["archive", "unapplied"], *patches: str) -> str:
    older = OlderState(Path("/older"), Path("/new"), how, patches, "")
    return _state(REQUEST, older, TARGET).identity


def test_the_archives_own_source_is_built_once() -> None:
    assert identity("archive") == identity("archive", "a.patch") == identity("archive", "b.patch")


def test_a_source_without_some_patches_is_another_one() -> None:
    made = {identity("archive"), identity("unapplied", "a.patch"), identity("unapplied", "b.patch")}
    assert len(made) == 3
