"""Patches of real source packages come off and go on: the trees, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.quilt import TreePair, state_before
from naht.build.debian.source import SourcePackage, unpack
from naht.errors import BuildRefusedError, HostileInputError, UsageError
from tests.builders.small_sources import Patch, Release, SmallSource

pytestmark = pytest.mark.compiler

LINES = [f"line {number}\n" for number in range(40)]


def text(**changed: str) -> str:
    """The file with some lines replaced: text(l3="three")."""
    lines = LINES.copy()
    for key, value in changed.items():
        lines[int(key[1:])] = value + "\n"
    return "".join(lines)


FILES = {"a.c": text(), "b.c": text(), "gone.c": "old\n", "sub/c.c": text()}
FIRST = Patch("CVE-1.patch", {"a.c": text(l5="first")})
MIDDLE = Patch("set/middle.patch", {"a.c": text(l5="first", l30="middle"), "new.c": "new\n"})
LAST = Patch("last.patch", {"a.c": text(l5="first", l7="last", l30="middle"), "gone.c": None})
OTHER = Patch("other.patch", {"b.c": text(l1="other")})


def package(
    tmp_path: Path, *patches: Patch, format: str = "3.0 (quilt)", files: dict[str, str] = FILES
) -> SourcePackage:
    release = Release("1.0" if "native" in format else "1.0-1", "  * All.\n", patches)
    small = SmallSource("small", files, [release], format)
    return unpack(small.build(release.version, tmp_path / "source"))


def files_of(tree: Path) -> dict[str, str]:
    return {
        path.relative_to(tree).as_posix(): path.read_text()
        for path in tree.rglob("*.c")
        if ".pc" not in path.parts
    }


def pair_of(source: SourcePackage, tmp_path: Path, *patches: str) -> TreePair:
    return state_before(source, patches, tmp_path / "out")


def test_the_last_patch_comes_off_and_the_new_side_is_the_source(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, OTHER)
    pair = pair_of(source, tmp_path, "other.patch")
    assert files_of(pair.old) == {**FILES, "a.c": text(l5="first")}
    assert (pair.new, pair.patches, pair.left_out) == (source.tree, ("other.patch",), ())
    assert pair.changed == ("b.c",)


def test_a_patch_in_the_middle_comes_off_below_others_of_the_same_file(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, MIDDLE, OTHER)
    pair = pair_of(source, tmp_path, "CVE-1.patch")
    assert files_of(pair.old)["a.c"] == text(l30="middle")
    assert files_of(pair.old)["new.c"] == "new\n"
    assert (pair.left_out, pair.changed) == ((), ("a.c",))


def test_patches_that_build_on_it_are_absent_from_both_sides(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, MIDDLE, LAST, OTHER)
    pair = pair_of(source, tmp_path, "CVE-1.patch")
    assert pair.left_out == ("last.patch",)
    assert files_of(pair.old)["a.c"] == text(l30="middle")
    assert files_of(pair.new)["a.c"] == text(l5="first", l30="middle")
    assert files_of(pair.old)["gone.c"] == files_of(pair.new)["gone.c"] == "old\n"
    assert pair.changed == ("a.c",)
    assert "last.patch" in pair.how


def test_all_that_came_later_may_be_absent_from_both_sides(tmp_path: Path) -> None:
    source = package(tmp_path, OTHER, FIRST, MIDDLE)
    pair = state_before(source, ["CVE-1.patch"], tmp_path / "out", without_later=True)
    assert (pair.patches, pair.left_out) == (("CVE-1.patch",), ("set/middle.patch",))
    assert files_of(pair.old) == {**FILES, "b.c": text(l1="other")}
    assert files_of(pair.new) == {**FILES, "b.c": text(l1="other"), "a.c": text(l5="first")}
    assert "set/middle.patch" in pair.how


# --- documentation that every patch writes on ----------------------------------------------------

LOG = "Changes\n\n"
OLDER = "\nVersion 1\n----\none\ntwo\nthree\n"


def fix(name: str, log: str, **code: str) -> Patch:
    return Patch(name, {"doc/ChangeLog": LOG + log + OLDER, "a.c": text(**code)})


THREE_FIXES = [
    fix("fix-1.patch", "first: a fix\n", l5="first"),
    fix("fix-2.patch", "first: a fix\nsecond: a fix\n", l5="first", l15="second"),
    fix("fix-3.patch", "first: a fix\nsecond: a fix\nthird: a fix\n",
        l5="first", l15="second", l25="third"),
]  # fmt: skip
LOGGED = {**FILES, "doc/ChangeLog": LOG + OLDER}


def test_a_change_log_leaves_no_fix_out(tmp_path: Path) -> None:
    source = package(tmp_path, *THREE_FIXES, OTHER, files=LOGGED)
    pair = pair_of(source, tmp_path, "fix-1.patch")
    assert (pair.left_out, pair.eased) == ((), ("doc/ChangeLog",))
    assert pair.new == source.tree
    assert files_of(pair.old)["a.c"] == text(l15="second", l25="third")
    log = LOG + "second: a fix\nthird: a fix\n" + OLDER
    assert (pair.old / "doc/ChangeLog").read_text() == log
    assert pair.changed == ("a.c", "doc/ChangeLog")
    assert "doc/ChangeLog" in pair.how


def test_several_fixes_of_one_change_log(tmp_path: Path) -> None:
    source = package(tmp_path, *THREE_FIXES, files=LOGGED)
    pair = pair_of(source, tmp_path, "fix-2.patch", "fix-1.patch")
    assert pair.left_out == ()
    assert files_of(pair.old)["a.c"] == text(l25="third")
    assert (pair.old / "doc/ChangeLog").read_text() == LOG + "third: a fix\n" + OLDER


def test_the_old_tree_with_a_change_log_is_a_source_package_too(tmp_path: Path) -> None:
    source = package(tmp_path, *THREE_FIXES, files=LOGGED)
    old = pair_of(source, tmp_path, "fix-1.patch").old
    shutil.copy2(source.description.parent / "small_1.0.orig.tar.gz", old.parent)
    subprocess.run(["dpkg-source", "-b", "old"], cwd=old.parent, check=True, capture_output=True)
    again = unpack(old.parent / "small_1.0-1.dsc")
    assert files_of(again.tree) == files_of(old)
    assert (again.tree / "doc/ChangeLog").read_text() == (old / "doc/ChangeLog").read_text()


def test_an_entry_that_was_written_over_still_leaves_its_patch_out(tmp_path: Path) -> None:
    again = fix("again.patch", "first: a better fix\n", l5="first", l15="second")
    source = package(tmp_path, THREE_FIXES[0], again, files=LOGGED)
    pair = pair_of(source, tmp_path, "fix-1.patch")
    assert (pair.left_out, pair.eased) == (("again.patch",), ())
    assert files_of(pair.old)["a.c"] == text()
    assert files_of(pair.new)["a.c"] == text(l5="first")


def test_code_that_others_may_build_on_is_no_documentation(tmp_path: Path) -> None:
    near = fix("near.patch", "first: a fix\nnear: a fix\n", l5="first", l6="near")
    source = package(tmp_path, THREE_FIXES[0], near, OTHER, files=LOGGED)
    pair = pair_of(source, tmp_path, "fix-1.patch")
    assert (pair.left_out, pair.eased) == (("near.patch",), ())
    assert files_of(pair.new)["a.c"] == text(l5="first")


def test_added_and_removed_files(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, MIDDLE, LAST)
    pair = pair_of(source, tmp_path, "last.patch", "middle")
    assert files_of(pair.old) == {**FILES, "a.c": text(l5="first")}
    assert pair.patches == ("set/middle.patch", "last.patch")
    assert pair.changed == ("a.c", "gone.c", "new.c")


def test_the_old_tree_is_a_source_package_without_the_patch(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, MIDDLE, OTHER)
    old = pair_of(source, tmp_path, "CVE-1.patch").old
    shutil.copy2(source.description.parent / "small_1.0.orig.tar.gz", old.parent)
    # It refuses a tree that is anything else than upstream's with the patches of the series.
    subprocess.run(["dpkg-source", "-b", "old"], cwd=old.parent, check=True, capture_output=True)
    again = unpack(old.parent / "small_1.0-1.dsc")
    assert files_of(again.tree) == files_of(old)


def test_what_came_off_and_went_on_again_keeps_its_time(tmp_path: Path) -> None:
    files = {**FILES, "sub/c.c": text()}
    wide = Patch("wide.patch", {"a.c": text(l5="first", l30="w"), "sub/c.c": text(l1="w")})
    source = package(tmp_path, FIRST, wide, files=files)
    old = pair_of(source, tmp_path, "CVE-1.patch").old
    assert (old / "sub/c.c").stat().st_mtime_ns == (source.tree / "sub/c.c").stat().st_mtime_ns


def test_the_source_itself_stays_as_it_is(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, MIDDLE, LAST)
    before = files_of(source.tree), PatchStack.of(source.tree).applied
    pair = pair_of(source, tmp_path, "CVE-1.patch")
    (pair.old / "sub/c.c").write_text("changed in place\n")
    assert (files_of(source.tree), PatchStack.of(source.tree).applied) == before


def test_unknown_and_ambiguous_names_list_the_patches(tmp_path: Path) -> None:
    twins = [Patch(f"{where}/same.patch", {f"{where}.c": "x\n"}) for where in "xy"]
    source = package(tmp_path, FIRST, *twins)
    for name in ("missing.patch", "same"):
        with pytest.raises(UsageError, match=r"x/same\.patch, y/same\.patch"):
            pair_of(source, tmp_path, name)


def test_a_native_package_is_refused(tmp_path: Path) -> None:
    source = package(tmp_path, format="3.0 (native)")
    with pytest.raises(BuildRefusedError) as refusal:
        pair_of(source, tmp_path, "any.patch")
    assert refusal.value.reason == "no-separate-patches"


def test_patches_of_the_first_format_are_applied_when_it_is_unpacked(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST, OTHER, format="1.0")
    assert files_of(source.tree)["b.c"] == text(l1="other")
    pair = pair_of(source, tmp_path, "CVE-1.patch")
    assert files_of(pair.old) == {**FILES, "b.c": text(l1="other")}


def test_dpatch_is_refused_politely(tmp_path: Path) -> None:
    small = SmallSource("small", FILES, [Release("1.0-1", "  * All.\n", [FIRST])], "1.0")
    dsc = small.build("1.0-1", tmp_path / "source")
    tree = tmp_path / "source" / "small-1.0"
    subprocess.run(["dpkg-source", "-x", dsc.name], cwd=dsc.parent, check=True, capture_output=True)
    (tree / "debian/patches/00list").write_text("CVE-1\n")
    subprocess.run(["dpkg-source", "-b", tree.name], cwd=dsc.parent, check=True,
                   capture_output=True)  # fmt: skip
    with pytest.raises(BuildRefusedError, match="dpatch"):
        unpack(dsc)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    small = SmallSource("small", FILES, [Release("1.0-1", "  * All.\n", [FIRST])])
    dsc = small.build("1.0-1", tmp_path / "source")
    damaged = next(dsc.parent.glob("*.debian.tar.*"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(HostileInputError, match="cannot be unpacked"):
        unpack(dsc)
    assert not (dsc.parent / "tree").exists()


def test_a_link_does_not_lead_out_of_the_tree(tmp_path: Path) -> None:
    source = package(tmp_path, Patch("p.patch", {"sub/c.c": text(l1="p")}))
    outside = tmp_path / "outside"
    shutil.copytree(source.tree / "sub", outside)
    shutil.rmtree(source.tree / "sub")
    (source.tree / "sub").symlink_to(outside)
    with pytest.raises(HostileInputError, match="link"):
        pair_of(source, tmp_path, "p.patch")
    assert (outside / "c.c").read_text() == text(l1="p")


def test_names_that_lead_out_of_the_tree_are_refused(tmp_path: Path) -> None:
    source = package(tmp_path, FIRST)
    (source.tree / ".pc/applied-patches").write_text("../../evil\n")
    with pytest.raises(HostileInputError, match="leads out"):
        pair_of(source, tmp_path, "evil")


def with_upstream(tmp_path: Path, change: Callable[[Path], None]) -> Path:
    """The .dsc of a package of which upstream's files were tampered with."""
    small = SmallSource("small", FILES, [Release("1.0", "  * All.\n")], "3.0 (native)")
    small.build("1.0", tmp_path / "source")
    archive = next((tmp_path / "source").glob("small_1.0.tar.*"))
    tree = tmp_path / "small-1.0"
    subprocess.run(["tar", "-C", str(tmp_path), "-xf", str(archive)], check=True)
    change(tree)
    subprocess.run(["tar", "-C", str(tmp_path), "-caf", str(archive), tree.name], check=True)
    description = tmp_path / "source" / "small_1.0.dsc"
    lines = description.read_text().splitlines(keepends=True)
    sums = {32: "md5", 40: "sha1", 64: "sha256"}
    for number, line in enumerate(lines):
        words = line.split()
        if line.startswith(" ") and len(words) == 3 and words[2] == archive.name:
            digest = hashlib.new(sums[len(words[0])], archive.read_bytes()).hexdigest()
            lines[number] = f" {digest} {archive.stat().st_size} {archive.name}\n"
    description.write_text("".join(lines))
    return description


def test_a_pipe_among_the_sources_is_refused(tmp_path: Path) -> None:
    description = with_upstream(tmp_path, lambda tree: os.mkfifo(tree / "pipe"))
    with pytest.raises(HostileInputError, match=r"pipe in small_1\.0\.dsc is a device"):
        unpack(description)


def test_notes_of_patches_that_are_links_are_refused(tmp_path: Path) -> None:
    def link(tree: Path) -> None:
        (tree / ".pc").mkdir()
        (tree / ".pc/applied-patches").symlink_to("../../../victim")

    with pytest.raises(HostileInputError, match=r"\.pc/applied-patches in .* is a link"):
        unpack(with_upstream(tmp_path, link))
