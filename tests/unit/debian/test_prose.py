"""A patch's own lines come out of documentation that others wrote on since, or nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.build.debian.prose import differs_by, is_prose, leave_out, split_patch, take_out


def texts(where: Path, *contents: str) -> list[Path]:
    paths = [where / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text("".join(f"{c}\n" for c in content))
    return paths


@pytest.mark.parametrize(
    ("before", "after", "later", "wanted"),
    [
        ("abyz", "abNyz", "abNMyz", "abMyz"),  # the next entry, right below
        ("abyz", "abNyz", "abMNyz", "abMyz"),  # right above
        ("abyz", "abNOyz", "abNMOyz", "abMyz"),  # between its lines
        ("abyz", "abNyz", "XabNyzZ", "XabyzZ"),
        ("abyz", "abNyz", "bNyz", "byz"),
        ("abcyz", "aBCyz", "aBCMyz", "abcMyz"),  # what it replaced comes back
        ("abcz", "acz", "aczM", "abczM"),  # what it removed, too
        ("abyz", "NabyzO", "PNabMyzOQ", "PabMyzQ"),  # several places
        ("", "N", "NM", "M"),
    ],
)
def test_exactly_its_lines(
    before: str, after: str, later: str, wanted: str, tmp_path: Path
) -> None:
    one, two, three, four = texts(tmp_path, before, after, later, wanted)
    assert take_out(one, two, three) == four.read_bytes()
    assert differs_by(four, three, [(one, two)])


@pytest.mark.parametrize(
    ("before", "after", "later"),
    [
        ("abyz", "abNOyz", "abNyz"),  # a line of it went
        ("abyz", "abNOyz", "abNPyz"),  # or was changed
        ("abcyz", "aBCyz", "aBMCyz"),  # where would the old ones belong?
        ("abcz", "acz", "aMcz"),  # others stand in that place
        ("abcz", "acz", "aCz"),
    ],
)
def test_what_is_not_certain_stays(before: str, after: str, later: str, tmp_path: Path) -> None:
    assert take_out(*texts(tmp_path, before, after, later)) is None


def test_lines_end_with_nothing_but_a_line_feed(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in "123")
    one.write_bytes(b"a\rb\x0c\nend")
    two.write_bytes(b"a\rb\x0c\nN\r\nend")
    three.write_bytes(b"a\rb\x0c\nN\r\nM\nend")
    assert take_out(one, two, three) == b"a\rb\x0c\nM\nend"


edits = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("xyz")), max_size=4)


@given(text=st.text("abc", max_size=8), first=edits, second=edits)
def test_what_comes_out_differs_by_the_change_and_nothing_else(
    text: str, first: list[tuple[int, str]], second: list[tuple[int, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    def edited(text: str, edits: list[tuple[int, str]], insert: bool) -> str:
        for place, letter in edits:
            text = text[:place] + letter + text[place + (not insert) :]
        return text

    after = edited(text, first, insert=False)
    one, two, three = texts(
        tmp_path_factory.mktemp("t"), text, after, edited(after, second, insert=True)
    )
    out = take_out(one, two, three)
    if out is not None:
        result = one.with_name("out")
        result.write_bytes(out)
        assert differs_by(result, three, [(one, two)])


def test_another_difference_is_seen(tmp_path: Path) -> None:
    one, two, three, four = texts(tmp_path, "ab", "aNb", "aNbX", "aY")
    assert not differs_by(four, three, [(one, two)])


PATCH = b"""\
What it is for
--- and no file
diff --git a/doc/ChangeLog b/doc/ChangeLog
--- a/doc/ChangeLog\t2026-01-01
+++ b/doc/ChangeLog
@@ -1,2 +1,2 @@
 one
+++ b/in/the/text
--- a/too
\\ No newline at end of file
--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+int one;
"""


def test_a_patch_has_parts(tmp_path: Path) -> None:
    parts = split_patch(PATCH)
    assert [path for path, _ in parts] == ["", "doc/ChangeLog", "new.c"]
    assert b"".join(raw for _, raw in parts) == PATCH
    patch = tmp_path / "p"
    patch.write_bytes(PATCH)
    leave_out(patch, {"doc/ChangeLog"})
    assert patch.read_bytes() == parts[0][1] + parts[2][1]
    assert b"in/the/text" not in patch.read_bytes()


def test_what_is_documentation() -> None:
    assert all(map(is_prose, ["doc/ChangeLog", "NEWS", "CHANGES.1", "README.md", "doc/spec.txt"]))
    assert not any(map(is_prose, ["CMakeLists.txt", "a.c", "news.c", "Makefile", "version.h.in"]))
