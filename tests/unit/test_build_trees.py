from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from naht.build.native import trees
from naht.build.native.dependencies import parse_rule
from naht.build.native.workspace import open_workspace
from naht.errors import UsageError

ELF = b"\x7fELF and so on"


def write(tree: Path, **files: str) -> Path:
    for name, content in files.items():
        path = tree / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tree


def test_changes_are_found_by_content_not_by_time(tmp_path: Path) -> None:
    old = write(tmp_path / "old", same="1", changed="1", gone="1", dir__deep="1")
    new = write(tmp_path / "new", same="1", changed="2", fresh="1", dir__deep="1")
    os.utime(new / "same", (0, 0))
    (old / "link").symlink_to("same")
    (new / "link").symlink_to("changed")
    (new / "dir" / "deep").chmod(0o755)
    change = trees.compare_trees(old, new)
    assert change.changed == ("changed", "dir/deep", "link")
    assert (change.added, change.removed) == (("fresh",), ("gone",))


def test_products_are_not_sources(tmp_path: Path) -> None:
    old = write(tmp_path / "old", a_dot_c="1", old_dot_c="1", config_dot_h="made")
    new = write(tmp_path / "new", a_dot_c="2")
    (old / "a.o").write_bytes(ELF)
    (new / "a.o").write_bytes(ELF + b"2")
    change = trees.compare_trees(old, new)
    assert change == trees.TreeChange(("a.c",), (), ("old.c",))
    (old / "a.o").unlink()
    assert trees.compare_trees(old, new).removed == ("config.h", "old.c")


def test_synchronising_writes_only_what_differs(tmp_path: Path) -> None:
    old = write(tmp_path / "old", same="1", changed="1", gone="1")
    new = write(tmp_path / "new", same="1", changed="2", dir__fresh="1")
    (new / "changed").chmod(0o755)
    trees.copy_tree(old, tmp_path / "work")
    work = tmp_path / "work"
    write(work, product="kept")
    os.utime(work / "same", (5, 5))
    os.utime(new / "changed", (5, 5))
    trees.synchronise(trees.compare_trees(old, new), new, work)
    assert {str(p.relative_to(work)) for p in work.rglob("*") if p.is_file()} == {
        "same", "changed", "dir/fresh", "product",
    }  # fmt: skip
    assert (work / "changed").read_text() == "2"
    assert (work / "changed").stat().st_mode & 0o100
    assert (work / "same").stat().st_mtime == 5
    assert (work / "changed").stat().st_mtime > 5


def test_copies_keep_times_and_leave_out_foreign_build_directories(tmp_path: Path) -> None:
    old = write(
        tmp_path / "old", src__a="1", out__CMakeCache_dot_txt="", out__x="1",
        sub__m__meson_private="", top="1",
    )  # fmt: skip
    (old / "sub" / "m" / "meson_private").rename(old / "sub" / "m" / "meson-private")
    os.mkfifo(old / "pipe")
    os.utime(old / "src" / "a", (7, 7))
    left_out = trees.copy_tree(old, tmp_path / "work")
    assert sorted(left_out) == ["out", "pipe", "sub/m"]
    assert (tmp_path / "work" / "src" / "a").stat().st_mtime == 7


def test_digests_name_each_side(tmp_path: Path) -> None:
    old = write(tmp_path / "old", changed="1", gone="g")
    new = write(tmp_path / "new", changed="2", fresh="f")
    digests = trees.source_digests(trees.compare_trees(old, new), old, new)

    def of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    assert [(s.path, s.old_digest, s.new_digest) for s in digests] == [
        ("changed", of("1"), of("2")),
        ("fresh", "", of("f")),
        ("gone", of("g"), ""),
    ]


def test_a_work_directory_inside_the_tree_is_refused(tmp_path: Path) -> None:
    tree = write(tmp_path / "old", a="1")
    with pytest.raises(UsageError, match="inside the source tree"):
        trees.check_tree(tree, tree / "work")
    with pytest.raises(UsageError, match="not a directory"):
        trees.check_tree(tree / "a")


def test_a_workspace_is_empty_private_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_workspace("k" * 64, None, print) as first:
        (first / "left").write_text("x")
        assert first.stat().st_mode & 0o777 == 0o700
    assert not first.exists()
    first.mkdir()
    (first / "stale").mkdir()
    with open_workspace("k" * 64, None, print) as second:
        assert second == first
        assert list(second.iterdir()) == []


def test_a_workspace_that_is_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    victim = write(tmp_path / "victim", precious="1")
    (tmp_path / "naht-kkkkkkkkkkkkkkkk").symlink_to(victim)
    with pytest.raises(UsageError, match="not ours"), open_workspace("k" * 64, None, print):
        pass
    assert (victim / "precious").is_file()


@pytest.mark.parametrize("name", ["with blank", "with:colon"])
def test_names_that_compilers_split_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with pytest.raises(UsageError, match="TMPDIR"), open_workspace("k" * 64, None, print):
        pass


def test_dependency_rules_are_read_as_compilers_write_them() -> None:
    rule = (
        b"a.o: a.c \\\n inc/x.h /usr/include/y.h \\\n odd\\ name.h ho\\#st.h mo$$ney.h\ninc/x.h:\n"
    )
    assert parse_rule(rule, Path("/b")) == {
        Path("/b/a.c"), Path("/b/inc/x.h"), Path("/usr/include/y.h"), Path("/b/odd name.h"),
        Path("/b/ho#st.h"), Path("/b/mo$ney.h"),
    }  # fmt: skip
