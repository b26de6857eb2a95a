"""A shipped object with changed code that the changed build leaves alone is never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.debian.builder import _Found, _not_relinked
from naht.build.debian.change import ChangeResult
from naht.build.debian.change_job import CopyNote, ObjectChange, Told
from naht.build.debian.older import OlderState


def found(*copies: CopyNote, unchanged: tuple[str, ...] = ()) -> _Found:
    change = ChangeResult(
        directory="/none", objects=(), copies=copies, unchanged=unchanged, seconds=0.0
    )
    older = OlderState(Path("/old"), Path("/new"), "archive", (), "")
    return _Found(change, {}, older, Told(id="pond-2"), (), {})


def shipping(*names: str) -> list[ObjectChange]:
    return [
        ObjectChange(
            name=name, shipped_as=(name,), build_id="", old_file="", new_file="", running_file=""
        )
        for name in names
    ]


POND = CopyNote("object", "src/pond", ("pond:usr/bin/pond",), ("depth.c",))


def test_it_is_refused_by_name() -> None:
    (refused,) = _not_relinked(found(POND), shipping("pond:usr/bin/deep"))
    assert refused.refusal is not None
    assert refused.refusal.reason == "not-relinked"
    assert refused.shipped_as == POND.shipped_as
    assert "depth.c" in refused.refusal.cause


@pytest.mark.parametrize(
    ("copy", "names", "unchanged"),
    [
        (POND, ("pond:usr/bin/pond",), ()),  # has its own row
        (POND, (), ("pond:usr/bin/pond",)),  # linked anew, with the same code
        (CopyNote("object", "probe", (), ("depth.c",)), (), ()),  # does not ship
        (CopyNote("archive", "a.a", ("dev:usr/lib/a.a",), ("depth.c",)), (), ()),  # runs nowhere
    ],
)
def test_what_is_known_or_does_not_run_is_not(
    copy: CopyNote, names: tuple[str, ...], unchanged: tuple[str, ...]
) -> None:
    assert not list(_not_relinked(found(copy, unchanged=unchanged), shipping(*names)))
