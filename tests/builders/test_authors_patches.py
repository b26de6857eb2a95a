"""An author's patches take the place of the distribution's, and are signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from naht.build.debian.authors_patches import written_instead
from naht.build.debian.builder import _instead, _told
from naht.build.debian.older import OlderState
from naht.build.debian.request import DebianRequest
from naht.build.debian.shipped import ShippedObject
from naht.build.debian.source import SourcePackage, unpack
from naht.domain.build_id import BuildId
from naht.errors import UsageError
from tests.builders.small_sources import Patch, Release, SmallSource

pytestmark = pytest.mark.compiler

FIX = """\
--- a/a.c
+++ b/a.c
@@ -1 +1,2 @@
 one
+of the author
"""
SIGNED = f"Author: Ann <ann@example.org>\nDescription: The same,\n otherwise.\n---\n{FIX}"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    tree = tmp_path / "older"
    tree.mkdir()
    (tree / "a.c").write_text("one\n")
    return tree


def patch(tmp_path: Path, text: str, name: str = "shadow.patch") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_fixed_side_is_the_older_source_with_the_authors_patch(
    tmp_path: Path, older: Path
) -> None:
    file = patch(tmp_path, SIGNED)
    new = tmp_path / "new"
    (written,) = written_instead(older, ["CVE-1.patch", "CVE-2.patch"], [file], "", new)
    assert (new / "a.c").read_text() == "one\nof the author\n"
    assert (older / "a.c").read_text() == "one\n"
    assert written.author == "Ann <ann@example.org>"
    assert written.description == "The same, otherwise."
    assert written.replaces == ("CVE-1.patch", "CVE-2.patch")
    assert written.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert written.patch == "shadow.patch"


@pytest.mark.parametrize(
    ("text", "author", "known"),
    [
        (f"From: Git <g@example.org>\nSubject: [PATCH] x\n---\n{FIX}", "", "Git <g@example.org>"),
        (SIGNED, "Bob", "Bob"),
        (FIX, "Bob", "Bob"),
        (FIX, "", None),
        (f"Author: \nDescription: x\n{FIX}", "", None),
        (f"Description: x\n{FIX}+Author: in the diff\n", "", None),
    ],
)  # fmt: skip
def test_somebody_answers_for_it(
    tmp_path: Path, older: Path, text: str, author: str, known: str | None
) -> None:
    file = patch(tmp_path, text)
    if known is None:
        with pytest.raises(UsageError, match="who wrote it"):
            written_instead(older, [], [file], author, tmp_path / "new")
        return
    (written,) = written_instead(older, [], [file], author, tmp_path / "new")
    assert written.author == known


def test_several_go_on_in_their_order(tmp_path: Path, older: Path) -> None:
    second = SIGNED.replace("@@ -1 +1,2 @@\n one\n", "@@ -1,2 +1,3 @@\n one\n of the author\n")
    files = [patch(tmp_path, SIGNED), patch(tmp_path, second, "second.patch")]
    written = written_instead(older, [], files, "", tmp_path / "new")
    assert [w.patch for w in written] == ["shadow.patch", "second.patch"]
    assert (tmp_path / "new/a.c").read_text() == "one\nof the author\nof the author\n"


def test_what_does_not_fit_exactly_says_what_to_write_it_against(
    tmp_path: Path, older: Path
) -> None:
    (older / "a.c").write_text("two\n")
    with pytest.raises(UsageError, match="does not apply") as caught:
        written_instead(older, [], [patch(tmp_path, SIGNED)], "", tmp_path / "new")
    assert "source of what runs" in caught.value.next_step


@pytest.fixture
def target(tmp_path: Path) -> SourcePackage:
    fix = Patch("CVE-2024-1234.patch", {"a.c": "one\ntwo\n"})
    releases = [Release("1.0-1", "  * First.\n"), Release("1.0-2", "  * Fixed.\n", [fix])]
    small = SmallSource("small", {"a.c": "one\n"}, releases)
    return unpack(small.build("1.0-2", tmp_path / "source"))


def test_the_hotpatch_says_what_was_replaced_and_is_no_versions_code(
    tmp_path: Path, older: Path, target: SourcePackage
) -> None:
    whole = DebianRequest(source="small", from_version="1.0-1", to_version="1.0-2", output=tmp_path)
    state = OlderState(older, target.tree, "archive", ("CVE-2024-1234.patch",), "")
    fixed = {"p:x": ShippedObject("p", "x", "object", BuildId("ab" * 20), tmp_path)}
    plain = _told(whole, state, target, fixed, ())
    assert (plain.version, plain.fixed, plain.authors_patches) == ("1.0-2", {"p:x": "ab" * 20}, ())

    request = replace(whole, authors_patches=(patch(tmp_path, SIGNED),))
    other, written = _instead(request, state, tmp_path / "work")
    told = _told(request, other, target, fixed, written)
    assert (other.new / "a.c").read_text() == "one\nof the author\n"
    assert (told.version, told.fixed) == ("", {})
    assert told.authors_patches[0].replaces == ("CVE-2024-1234.patch",)
    assert told.advisories == plain.advisories == ("CVE-2024-1234",)
    assert told.id != plain.id
    assert "author" in told.title
