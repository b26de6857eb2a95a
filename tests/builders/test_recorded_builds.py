"""Builds small real projects in two versions and looks at the pair that comes out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from naht.build.compile_pair import BuiltPair, LinkedObject
from naht.build.native.debug_info import DebugInfo
from naht.build.native.pairing import build_pair
from naht.build.native.relocatable import Relocatable
from naht.build.native.request import BuildRequest
from naht.elf import constants as c
from naht.elf.file import ElfFile
from tests.builders.recorded import built, with_higher_limit
from tests.builders.small_projects import (
    BUILD_SYSTEMS,
    CMAKE,
    CPLUSPLUS,
    PLAIN_MAKE,
    SOURCES,
    Project,
    edited,
    write_project,
)

pytestmark = pytest.mark.compiler


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


def test_cplusplus_units_pair_and_place(tmp_path: Path) -> None:
    new = edited(CPLUSPLUS.files, "shape.cpp", '"none"', '"no shape"')
    with built(tmp_path, CPLUSPLUS, new) as pair:
        assert sources_of(pair) == ["shape.cpp"]
        assert check_placements(pair.old_link) > 8


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = edited(CMAKE.files, "CMakeLists.txt", "src/helper.c)", "src/helper.c more/helper.c)")
    files = edited(files, "src/greet.c", "limit() ?", "limit() + more(n) ?")
    files["include/more.h"] = "int more(int n);\n"
    files["src/greet.c"] = '#include "more.h"\n' + files["src/greet.c"]
    files["more/helper.c"] = "static int seen[9]; int more(int n) { return seen[n % 9] += n; }\n"
    new = edited(files, "more/helper.c", "+= n", "+= 2 * n")
    with built(tmp_path, Project(files, CMAKE.command, CMAKE.object), new) as pair:
        assert sources_of(pair) == ["more/helper.c"]
        assert check_placements(pair.new_link) >= 10


def test_link_time_optimised_program_is_one_unit_with_types(tmp_path: Path) -> None:
    files = edited(PLAIN_MAKE.files, "Makefile", "-O2 -g", "-O2 -g -flto")
    files = edited(files, "Makefile", "ar rcs", "gcc-ar rcs")
    files = edited(files, "Makefile", "$(CC) -shared", "$(CC) $(CFLAGS) -shared")
    files["src/greet.c"] += "struct pair { int first; long second; }; struct pair pairs[2];\n"
    project = Project(files, PLAIN_MAKE.command, PLAIN_MAKE.object)
    with built(tmp_path, project, with_higher_limit(project)) as pair:
        assert sources_of(pair) == ["link-time-optimised"]
        old = pair.units[0].old
        assert old is not None
        assert {"greet", "unrelated"} <= functions_in(old.sectioned)
        assert check_placements(pair.old_link) >= 6
        entries = DebugInfo(Relocatable(old.sectioned.read_bytes(), old.sectioned)).entries
        assert b"pair" in {
            e.attributes["DW_AT_name"].value for e in entries
            if e.tag == "DW_TAG_structure_type" and "DW_AT_name" in e.attributes
        }  # fmt: skip


def test_changed_assembly_is_seen(tmp_path: Path) -> None:
    files = edited(PLAIN_MAKE.files, "Makefile", "src/unrelated.o", "src/unrelated.o src/fast.o")
    files["src/fast.S"] = ".globl fast\n.type fast,@function\nfast: mov $1, %eax\n ret\n"
    new = edited(files, "src/fast.S", "$1", "$2")
    with built(tmp_path, Project(files, "make", PLAIN_MAKE.object), new) as pair:
        assert sources_of(pair) == ["src/fast.S"]
        (unit,) = pair.units
        assert unit.old is not None
        assert unit.new is not None
        assert unit.old.sectioned == unit.old.plain
        assert unit.old.plain.read_bytes() != unit.new.plain.read_bytes()


def test_a_changed_generator_reaches_the_generated_unit(tmp_path: Path) -> None:
    files = edited(
        PLAIN_MAKE.files, "Makefile", "libhelp.a: ",
        "src/unrelated.c: gen.sh\n\tsh gen.sh > $@\nlibhelp.a: ",
    )  # fmt: skip
    files["gen.sh"] = 'echo "int unrelated(int n) { return n + 5; }"\n'
    del files["src/unrelated.c"]
    new = edited(files, "gen.sh", "+ 5", "+ 6")
    with built(tmp_path, Project(files, "make", PLAIN_MAKE.object), new) as pair:
        assert sources_of(pair) == ["src/unrelated.c"]
        assert [s.path for s in pair.sources] == ["gen.sh"]
        (unit,) = pair.units
        assert unit.old is not None
        assert b"\x05" in ElfFile(unit.old.sectioned.read_bytes()).section_bytes(
            ElfFile(unit.old.sectioned.read_bytes()).section_by_name[".text.unrelated"]
        )


def test_units_that_come_and_go(tmp_path: Path) -> None:
    new = edited(PLAIN_MAKE.files, "Makefile", "src/unrelated.o", "src/other.o")
    new["src/other.c"] = new.pop("src/unrelated.c")
    with built(tmp_path, PLAIN_MAKE, new) as pair:
        sides = {u.source: (u.old is not None, u.new is not None) for u in pair.units}
        assert sides == {"src/unrelated.c": (True, False), "src/other.c": (False, True)}
        assert [(s.path, bool(s.old_digest), bool(s.new_digest)) for s in pair.sources] == [
            ("Makefile", True, True),
            ("src/other.c", False, True),
            ("src/unrelated.c", True, False),
        ]


def test_author_hooks_find_their_header(tmp_path: Path) -> None:
    hook = "#include <naht.h>\nstatic int check(void) { return 0; }\nNAHT_PRE_APPLY(check);\n"
    new = {**PLAIN_MAKE.files, "src/unrelated.c": SOURCES["src/unrelated.c"] + hook}
    with built(tmp_path, PLAIN_MAKE, new) as pair:
        (unit,) = pair.units
        assert unit.new is not None
        names = {s.name for s in ElfFile(unit.new.sectioned.read_bytes()).symbols}
        assert "check" in names


def test_a_comment_changes_no_object(tmp_path: Path) -> None:
    project = Project(
        edited(PLAIN_MAKE.files, "Makefile", " -g", ""), PLAIN_MAKE.command, PLAIN_MAKE.object
    )
    new = edited(project.files, "src/unrelated.c", "static int", "/* a table */ static int")
    with built(tmp_path, project, new) as pair:
        assert pair.units == ()
        assert set(pair.unchanged) == set(pair.new_link.inputs)


def test_a_tree_that_was_built_in_place_is_built_again(tmp_path: Path) -> None:
    write_project(tmp_path / "old", PLAIN_MAKE.files)
    subprocess.run(["make"], cwd=tmp_path / "old", check=True, capture_output=True)
    with built(tmp_path, PLAIN_MAKE, with_higher_limit(PLAIN_MAKE)) as pair:
        assert sources_of(pair) == sorted(PLAIN_MAKE.changed)
        assert pair.running == tmp_path / "old" / "libgreet.so"
        assert [s.path for s in pair.sources] == ["include/limit.h"]


def test_a_directory_configured_elsewhere_is_configured_anew(tmp_path: Path) -> None:
    old = write_project(tmp_path / "old", CMAKE.files)
    subprocess.run(["sh", "-c", CMAKE.command], cwd=old, check=True, capture_output=True)
    before = {p: p.stat().st_mtime_ns for p in old.rglob("*")}
    with built(tmp_path, CMAKE, with_higher_limit(CMAKE)) as pair:
        assert sources_of(pair) == sorted(CMAKE.changed)
        assert pair.running == old / CMAKE.object
    assert {p: p.stat().st_mtime_ns for p in old.rglob("*")} == before


@pytest.mark.parametrize("strip", [0, 1, 2])
def test_patches_make_the_new_tree(tmp_path: Path, strip: int) -> None:
    old = write_project(tmp_path / "old", PLAIN_MAKE.files)
    prefix = "".join(f"{'ab'[n]}/" for n in range(strip))
    name = f"{prefix}src/unrelated.c"
    patch = tmp_path / "fix.patch"
    patch.write_text(
        f"--- {name}\n+++ {name}\n@@ -1,2 +1,2 @@\n \n"
        f"-{SOURCES['src/unrelated.c'].strip()}\n"
        f"+{SOURCES['src/unrelated.c'].strip().replace('n & 3', 'n & 1')}\n"
    )
    request = BuildRequest(
        old=old, patches=(patch,), command="make", object="libgreet.so", id="test"
    )
    with build_pair(request, lambda _: None) as pair:
        assert sources_of(pair) == ["src/unrelated.c"]
        assert [s.path for s in pair.sources] == ["src/unrelated.c"]


def test_awkward_flags(tmp_path: Path) -> None:
    """Response files, saved temporaries, warnings as errors, split and compressed debug data."""
    files = edited(
        PLAIN_MAKE.files, "Makefile", "-O2 -g",
        "-O2 -gsplit-dwarf -gz -save-temps -Werror -Wall -MMD -MP @flags",
    )  # fmt: skip
    files["flags"] = "-DNAME='\"a name\"' -Wextra\n"
    files["src/greet.c"] += "const char *where(void) { return NAME __FILE__; }\n"
    files["src/greet.c"] += "int line(void) { return __LINE__; }\n"
    project = Project(files, "make", PLAIN_MAKE.object)
    with built(tmp_path, project, with_higher_limit(project)) as pair:
        assert sources_of(pair) == sorted(PLAIN_MAKE.changed)
        greet = next(u for u in pair.units if u.source == "src/greet.c")
        assert greet.old is not None
        assert greet.old.line_neutral is not None
        elf = ElfFile(greet.old.sectioned.read_bytes())
        assert elf.section_by_name[".debug_info"].flags & 0x800 == 0  # SHF_COMPRESSED
        neutral = ElfFile(greet.old.line_neutral.read_bytes())
        line = neutral.section_bytes(neutral.section_by_name[".text.line"])
        assert line != elf.section_bytes(elf.section_by_name[".text.line"])
        assert b"\x31\xc0\xc3" in line  # xor eax, eax; ret


def test_the_same_inputs_give_the_same_pair(tmp_path: Path) -> None:
    seen = []
    for run in ("first", "second"):
        project = BUILD_SYSTEMS["make"]
        with built(tmp_path / run, project, with_higher_limit(project)) as pair:
            seen.append((pair, {p: p.read_bytes() for p in files_of(pair)}))
    assert seen[0] == seen[1]


def files_of(pair: BuiltPair) -> list[Path]:
    forms = [
        path
        for unit in pair.units
        for side in (unit.old, unit.new) if side
        for path in (side.plain, side.sectioned, side.line_neutral) if path
    ]  # fmt: skip
    links = (pair.old_link, pair.new_link)
    return [*forms, *(p for link in links for p in (link.path, *link.inputs))]


def test_the_work_directory_stays_only_on_request(tmp_path: Path) -> None:
    project = BUILD_SYSTEMS["make"]
    keep = tmp_path / "kept"
    with built(tmp_path, project, with_higher_limit(project), keep=keep) as pair:
        work = pair.old_link.path.parent.parent
    assert not work.exists()
    assert (keep / "tree" / "libgreet.so").is_file()
    assert "libgreet.so" in (keep / "build-old.log").read_text()
