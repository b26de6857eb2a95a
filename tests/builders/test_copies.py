"""Everything that one real build made of a changed source."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from naht.build.debian.copies import Copy, find_copies
from naht.build.debian.shipped import Shipped, read_shipped
from tests.builders.small_packages import member, write_deb
from tests.builders.small_shipped import Recorded, build

pytestmark = pytest.mark.compiler

SOURCES = {
    "shared.h": "static inline int bound(void) { return 4; }\n",
    "core.c": '#include "shared.h"\nint core(int n) { return n < bound() ? n : 0; }\n',
    "other.c": "int other(int n) { return n * 3; }\n",
    "unused.c": '#include "shared.h"\nint unused(void) { return bound(); }\n',
    "main.c": "int core(int), other(int);\nint main(void) { return core(other(1)); }\n",
    "alone.c": "int other(int);\nint main(void) { return other(2); }\n",
}
COMMAND = """set -e
for f in core other unused; do gcc -O2 -g -fPIC -c $f.c; gcc -O2 -g -c -o static-$f.o $f.c; done
gcc -shared -o libone.so core.o other.o
gcc -shared -o libtwo.so core.o -Wl,-soname,two
ar rc libone.a static-core.o static-other.o
gcc -o test-program main.c libone.a
gcc -o program alone.c libone.a
ld -r -o both.o static-core.o static-other.o
gcc -o combined main.c both.o
strip -g -o stripped.o static-core.o
gcc -o from-stripped main.c stripped.o static-other.o
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return build(tmp_path_factory.mktemp("copies"), SOURCES, COMMAND)


def shipped(recorded: Recorded, folder: Path) -> Shipped:
    names = ("libone.so", "libone.a", "program", "static-core.o", "static-other.o")
    members = [member(f"./usr/{n}", (recorded.tree / n).read_bytes()) for n in names]
    return read_shipped([write_deb(folder / "a.deb", members)], folder / "into")


def copies(recorded: Recorded, folder: Path, changed: Collection[str]) -> dict[str, Copy]:
    paths = [recorded.tree / name for name in changed]
    found = find_copies(recorded.records, paths, shipped(recorded, folder), recorded.tree)
    return {copy.name: copy for copy in found}


def test_every_object_with_the_code_is_listed(recorded: Recorded, tmp_path: Path) -> None:
    found = copies(recorded, tmp_path, ["core.c"])
    assert {name: copy.kind for name, copy in found.items()} == {
        "libone.so": "object",
        "libtwo.so": "object",
        "test-program": "object",
        "combined": "object",
        "from-stripped": "object",
        "small:usr/libone.a": "archive",
        "small:usr/static-core.o": "relocatable",
    }
    assert found["libone.so"].shipped_as == ("small:usr/libone.so",)
    assert found["libtwo.so"].shipped_as == ()
    assert {copy.units for copy in found.values()} == {("core.c",)}


def test_a_header_reaches_the_units_that_read_it(recorded: Recorded, tmp_path: Path) -> None:
    found = copies(recorded, tmp_path, ["shared.h"])
    assert "program" not in found  # its archive has the code, but the linker left that member out
    assert found["libone.so"].units == ("core.c",)
    assert {c.units for c in found.values() if c.kind == "compilation"} == {("unused.c",)}


def test_units_that_a_link_loads_from_an_archive_count(recorded: Recorded, tmp_path: Path) -> None:
    found = copies(recorded, tmp_path, ["other.c"])
    assert found["program"].shipped_as == ("small:usr/program",)
    assert "libtwo.so" not in found


def test_nothing_changed_is_nowhere(recorded: Recorded, tmp_path: Path) -> None:
    assert copies(recorded, tmp_path, []) == {}


def test_without_a_map_every_member_counts(recorded: Recorded, tmp_path: Path) -> None:
    (program,) = (r for r in recorded.records if r.kind == "linker" and "program" in r.arguments)
    kept = program.map.read_bytes() if program.map else b""
    assert program.map is not None
    try:
        program.map.write_bytes(b"")
        assert "program" in copies(recorded, tmp_path, ["core.c"])
    finally:
        program.map.write_bytes(kept)
