"""Two files under one path never share a root, and each gets one where its own package's lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from naht.build.debian.change import ChangeResult
from naht.build.debian.change_job import ObjectChange
from scripts.corpus.live_root import Ingredients
from scripts.corpus.objects import LivePart
from scripts.corpus.package_data import PackageData
from scripts.corpus.rooms import home_of, places, share_out


def thing(*shipped: str) -> ObjectChange:
    name = shipped[0].replace("/", "-").replace(":", "-")
    return ObjectChange(
        name=name, shipped_as=shipped, build_id="aa" * 20, old_file=f"{name}.old",
        new_file=f"{name}.new", running_file=f"{name}.running", hotpatch=f"{name}.naht",
    )  # fmt: skip


LIGHT, HEAVY = thing("light:usr/sbin/mta"), thing("heavy:usr/sbin/mta")
LIGHT_HELPER, HEAVY_HELPER = thing("light:usr/lib/helper"), thing("heavy:usr/lib/helper")
TOOL = thing("base:usr/bin/tool")
SHARED = thing("light:usr/lib/shared", "heavy:usr/lib/shared")


def names(rooms: Sequence[Sequence[ObjectChange]]) -> list[list[str]]:
    return [[o.name for o in room] for room in rooms]


def test_objects_without_rivals_share_one_root() -> None:
    assert share_out([LIGHT, TOOL, SHARED]) == [[LIGHT, TOOL, SHARED]]
    assert share_out([]) == [[]]


def test_rivals_are_apart_and_the_others_with_each() -> None:
    rooms = share_out([TOOL, LIGHT, HEAVY, SHARED])
    assert names(rooms) == names([[TOOL, LIGHT, SHARED], [TOOL, HEAVY, SHARED]])
    assert [home_of(o, rooms) for o in (TOOL, LIGHT, HEAVY, SHARED)] == [0, 0, 1, 0]


def test_files_of_one_package_stay_together() -> None:
    rooms = share_out([LIGHT, HEAVY_HELPER, LIGHT_HELPER, HEAVY])
    assert names(rooms) == names([[LIGHT, LIGHT_HELPER], [HEAVY_HELPER, HEAVY]])


def test_a_third_rival() -> None:
    other = thing("other:usr/sbin/mta")
    rooms = share_out([LIGHT, HEAVY, other])
    assert names(rooms) == names([[LIGHT], [HEAVY], [other]])


def test_no_path_has_two_files_in_a_room() -> None:
    for room in share_out([LIGHT, HEAVY, LIGHT_HELPER, HEAVY_HELPER, TOOL, SHARED]):
        paths = [path for o in room for path in set(places(o))]
        assert len(paths) == len(set(paths))


def test_each_object_is_run_where_its_own_file_lies(tmp_path: Path) -> None:
    """As far as the files that are put there: nothing is started without a hotpatch."""
    change = ChangeResult(directory="/c", objects=(LIGHT, HEAVY, TOOL), seconds=0)
    part = LivePart(
        change, Ingredients(None, tmp_path, tmp_path, None),  # type: ignore[arg-type]
        PackageData.of(tmp_path / "none"), "p", tmp_path, tmp_path,
    )  # fmt: skip
    rooms = share_out(change.objects)
    for rival in (LIGHT, HEAVY):
        room = rooms[home_of(rival, rooms)]
        old, new = part._files("old", room), part._files("new", room)
        assert old["usr/sbin/mta"] == Path("/c", rival.running_file)
        assert new["usr/sbin/mta"] == Path("/c", rival.new_file)
        assert old["usr/bin/tool"] == Path("/c", TOOL.running_file)
