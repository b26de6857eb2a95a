"""A tiny Debian source package, built whole with this host's tools, then changed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from naht.build.debian.cache import Cache
from naht.build.debian.change import (
    ChangeOptions,
    ChangeResult,
    SourceTrees,
    build_change,
    rebuilt_objects,
)
from naht.build.debian.change_job import Told
from naht.build.debian.package_build import BuiltPackage
from naht.build.debian.whole_build import SourceState, Workshop
from naht.hotpatch.container import unpack_hotpatch

pytestmark = pytest.mark.compiler

FILES = {
    "debian/control": """\
Source: pond
Section: misc
Priority: optional
Maintainer: Nobody <nobody@example.org>
Standards-Version: 4.6.2
Rules-Requires-Root: no

Package: libpond1
Architecture: any
Description: a library

Package: pond
Architecture: any
Description: two programs
""",
    "debian/changelog": """\
pond (1.0-1) unstable; urgency=medium

  * First.

 -- Nobody <nobody@example.org>  Thu, 01 Jan 2026 00:00:00 +0000
""",
    "debian/source/format": "3.0 (quilt)\n",
    # A flavour that is built from a copy of the sources, and a make that is called as $(MAKE).
    "debian/rules": """\
#!/usr/bin/make -f
build-arch build:
\t$(MAKE) all
\tmkdir -p debian/flavour && cp depth.c depth.h main.c Makefile debian/flavour/
\t$(MAKE) -C debian/flavour deep CFLAGS="-O2 -g -DDEEP"
binary-arch binary: build
\tset -e; for p in libpond1 pond; do mkdir -p debian/$$p/usr/bin debian/$$p/usr/lib; done
\tstrip --strip-unneeded -o debian/libpond1/usr/lib/libpond.so.1 libpond.so.1
\tstrip -o debian/pond/usr/bin/pond pond
\tstrip -o debian/pond/usr/bin/deep debian/flavour/deep
\tset -e; for p in libpond1 pond; do mkdir -p debian/$$p/DEBIAN; \\
\t  dpkg-gencontrol -p$$p -Pdebian/$$p; dpkg-deb --root-owner-group -b debian/$$p ..; done
clean:
\trm -f *.o
binary-indep:
""",
    "Makefile": """\
CFLAGS = -O2 -g
all: libpond.so.1 pond probe
%.o: %.c depth.h
\tgcc $(CFLAGS) -fPIC -c -o $@ $<
libpond.so.1: depth.o
\tgcc -shared -Wl,-soname,$@ -Wl,--build-id -o $@ $<
pond: main.o depth.o
\tgcc -Wl,--build-id -o $@ $^
probe: probe.o depth.o
\tgcc -Wl,--build-id -o $@ $^
deep: main.o depth.o
\tgcc -Wl,--build-id -o $@ $^
""",
    "depth.h": "int depth(int at);\n",
    "depth.c": '#include "depth.h"\nint depth(int at) { return at < 0 ? -1 : 40 + at; }\n',
    "main.c": """\
#include <stdio.h>
#include <unistd.h>
#include "depth.h"
int ponds = 7;
int main(int n, char **v)
{
    (void)v;
    for (;; ponds++) {
        printf("%d %d\\n", depth(n), ponds);
        pause();
    }
}
""",
    "probe.c": '#include "depth.h"\nint main(int n, char **v) { (void)v; return depth(n); }\n',
}


def write_source(tree: Path) -> None:
    for name, text in FILES.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tree / "debian/rules").chmod(0o755)


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BuiltPackage, Path]]:
    directory = tmp_path_factory.mktemp("pond")
    tree = directory / "tree"
    write_source(tree)
    description = directory / "pond_1.0-1.dsc"
    description.write_text("Format: 3.0 (quilt)\nSource: pond\nVersion: 1.0-1\n")
    workshop = Workshop(Cache(directory / "cache"), "none", "", 2, print, in_place=True)
    state = SourceState("pond", "1.0-1", tree, description)
    yield workshop.whole_build(state), tree
    subprocess.run(["chmod", "-R", "u+rwX", str(directory)], check=True)


def change(
    pond: tuple[BuiltPackage, Path], tmp_path: Path, name: str, old: str, new: str
) -> ChangeResult:
    built, base = pond
    fixed = tmp_path / "fixed"
    shutil.copytree(base, fixed)
    text = (fixed / name).read_text()
    assert old in text
    (fixed / name).write_text(text.replace(old, new))
    told = Told(id="pond-1.0-2", version="1.0-2")
    trees = SourceTrees(base, None, fixed)
    options = ChangeOptions(find_copies=True)
    return build_change(built, trees, tmp_path / "out", told, print, options)


def test_every_shipped_object_gets_its_hotpatch(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "depth.c", "40 + at", "50 + at")
    shipped = {o.shipped_as: o for o in result.objects if o.shipped_as}
    assert set(shipped) == {
        ("libpond1:usr/lib/libpond.so.1",),
        ("pond:usr/bin/pond",),
        ("pond:usr/bin/deep",),
    }
    build_ids = {f.name: f.build_id for f in rebuilt_objects(pond[0])}
    for (name,), item in shipped.items():
        assert item.refusal is None, item.refusal
        assert item.build_id == build_ids[name]
        assert item.hotpatch is not None
        manifest = unpack_hotpatch(result.path(item.hotpatch).read_bytes()).manifest
        assert manifest.images[0].target.build_id == item.build_id
        assert [v.version for v in manifest.brings_to] == ["1.0-2"]
        assert "depth" in item.functions


def test_objects_that_do_not_ship_are_listed_without_a_hotpatch(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "depth.c", "-1", "-2")
    assert [(o.name, o.hotpatch) for o in result.objects if not o.shipped_as] == [("probe", None)]
    assert "probe" in {copy.name for copy in result.copies}


def test_a_change_of_comments_changes_no_object(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "depth.h", "int depth", "/* metres */ int depth")
    assert not result.objects
    assert "pond:usr/bin/pond" in result.unchanged


def test_a_file_that_nothing_compiles_is_named(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "debian/control", "two programs", "2 programs")
    assert not result.objects
    assert result.unread == ("debian/control",)


def test_another_way_to_build_changes_code_too(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "debian/rules", "-O2 -g -DDEEP", "-O1 -g -DDEEP")
    shipped = {name for o in result.objects for name in o.shipped_as}
    assert shipped == {"pond:usr/bin/deep"}


def test_what_cannot_be_done_is_said_of_each_object(
    pond: tuple[BuiltPackage, Path], tmp_path: Path
) -> None:
    result = change(pond, tmp_path, "main.c", "ponds = 7", "ponds = 8")
    refused = {o.shipped_as[0] for o in result.objects if o.refusal and o.hotpatch is None}
    assert refused == {"pond:usr/bin/pond", "pond:usr/bin/deep"}


def test_the_base_is_never_written(pond: tuple[BuiltPackage, Path], tmp_path: Path) -> None:
    built, _ = pond
    before = {p: p.stat().st_mtime_ns for p in built.build.rglob("*") if p.is_file()}
    change(pond, tmp_path, "depth.c", "40 + at", "60 + at")
    assert before == {p: p.stat().st_mtime_ns for p in built.build.rglob("*") if p.is_file()}
