"""Copies of sources in a built tree."""

from __future__ import annotations

from pathlib import Path

from naht.build.debian.copied_sources import find_copied_sources


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def test_copies_that_the_build_made_are_found(tmp_path: Path) -> None:
    sources = {"src/a.c": "a", "src/b.c": "b", "lib/b.c": "b"}
    base = write(tmp_path / "base", sources)
    built = write(
        tmp_path / "built",
        {**sources, "debian/one/a.c": "a", "debian/two/src/a.c": "a", "debian/two/src/b.c": "c",
         ".pc/p/src/a.c": "a"},
    )  # fmt: skip
    (built / "link").symlink_to("src")
    (built / "debian/linked").mkdir()
    (built / "debian/linked/a.c").symlink_to("../../src/a.c")
    assert find_copied_sources(built, base, ["src/a.c", "src/b.c"]) == {
        "src/a.c": ("debian/one/a.c", "debian/two/src/a.c")
    }


def test_a_source_that_the_base_lacks_has_no_copies(tmp_path: Path) -> None:
    base, built = write(tmp_path / "base", {"x": ""}), write(tmp_path / "built", {"d/new.c": "n"})
    assert find_copied_sources(built, base, ["new.c"]) == {}
