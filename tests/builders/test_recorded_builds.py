"""Builds small real projects in two versions and looks at the pair that comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.build.compile_pair import BuiltPair, LinkedObject
from naht.build.native.pairing import build_pair
from naht.build.native.request import BuildRequest
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError
from tests.builders.small_projects import (
    BUILD_SYSTEMS,
    Project,
    edited,
    write_project,
)

pytestmark = pytest.mark.compiler


@contextmanager
def built(
    tmp_path: Path, project: Project, new: dict[str, str], **more: object
) -> Iterator[BuiltPair]:
    write_project(tmp_path / "old", project.files)
    write_project(tmp_path / "new", new)
    request = BuildRequest(
        old=tmp_path / "old", new=tmp_path / "new", command=project.command,
        object=project.object, id="test", **more,  # type: ignore[arg-type]
    )  # fmt: skip
    with build_pair(request, lambda _: None) as pair:
        yield pair


def with_higher_limit(project: Project) -> dict[str, str]:
    return edited(project.files, "include/limit.h", "return 10", "return 12")


def refused(tmp_path: Path, project: Project, new: dict[str, str]) -> BuildRefusedError:
    with pytest.raises(BuildRefusedError) as caught, built(tmp_path, project, new):
        pass
    return caught.value


def sources_of(pair: BuiltPair) -> list[str]:
    return sorted(unit.source for unit in pair.units)


def check_placements(link: LinkedObject) -> int:
    """Each symbol of each plain object is where the linked symbol table says. Returns how many."""
    linked: dict[str, set[int]] = {}
    for symbol in ElfFile(link.path.read_bytes()).symbols:
        linked.setdefault(symbol.name, set()).add(symbol.value)
    checked = 0
    for path in link.inputs:
        elf = ElfFile(path.read_bytes())
        for symbol in elf.symbols:
            if symbol.type in (c.STT_FUNC, c.STT_OBJECT) and 0 < symbol.section < 0xFF00:
                section = elf.sections[symbol.section]
                places = link.placements.get((path, section.name), ())
                if len(places) == 1 and linked:
                    assert places[0].address + symbol.value in linked[symbol.name]
                    assert symbol.value + symbol.size <= places[0].size
                    checked += 1
    return checked


def functions_in(path: Path) -> set[str]:
    """Functions that have a section of their own."""
    elf = ElfFile(path.read_bytes())
    return {
        s.name for s in elf.symbols
        if s.type == c.STT_FUNC and elf.sections[s.section].name.endswith("." + s.name)
    }  # fmt: skip


@pytest.mark.parametrize("name", BUILD_SYSTEMS)
def test_a_changed_header_rebuilds_its_users_under_every_build_system(
    tmp_path: Path, name: str
) -> None:
    project = BUILD_SYSTEMS[name]
    with built(tmp_path, project, with_higher_limit(project)) as pair:
        assert sources_of(pair) == sorted(project.changed)
        for unit in pair.units:
            assert unit.old is not None
            assert unit.new is not None
            stem = Path(unit.source).stem
            for side in (unit.old, unit.new):
                assert stem in functions_in(side.sectioned)
                assert side.line_neutral is not None
                assert ElfFile(side.sectioned.read_bytes()).section_by_name[".debug_info"].size
                assert side.plain in (*pair.old_link.inputs, *pair.new_link.inputs)
        placed = 0 if name == "one-command" else 8  # that one is linked with -s
        assert check_placements(pair.old_link) >= placed
        assert check_placements(pair.new_link) >= placed
        assert [s.path for s in pair.sources] == ["include/limit.h"]
        assert set(pair.unchanged) == set(pair.old_link.inputs) & set(pair.new_link.inputs)
        assert any("unrelated" in p.name for p in pair.unchanged)
        assert pair.running == pair.old_link.path
