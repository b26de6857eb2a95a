"""Entries of a changelog, and the changelog as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.debian.changelog import cut_back, entries, read_changelog, split_at
from naht.errors import HostileInputError, UsageError

TEXT = """\
small (1:1.0-2) stable-security; urgency=high

  [ Somebody ]
  * Fix CVE-2024-1
    in two lines. (Closes: #123456)
    - with a part
  * Another.

 -- Some Body <s@b>  Tue, 02 Jan 2024 12:00:00 +0100

small (1:1.0-1) unstable; urgency=low

  * First (not small (9.9)).

 -- Some Body <s@b>  Mon, 01 Jan 2024 00:00:00 +0000

Local variables:
mode: debian-changelog
"""


def test_entries_with_their_time_and_bullets() -> None:
    newest, oldest = entries(TEXT)
    assert (newest.version, oldest.version) == ("1:1.0-2", "1:1.0-1")
    assert (newest.timestamp, oldest.timestamp) == (1704193200, 1704067200)
    assert [item.split()[1] for item in newest.items] == ["Fix", "with", "Another."]
    assert "in two lines" in newest.items[0]


def test_an_entry_without_a_date_is_refused() -> None:
    for trailer in ("", " -- Some Body <s@b>  no date\n"):
        with pytest.raises(HostileInputError, match="no date"):
            _ = entries(f"small (1) stable\n\n  * x\n\n{trailer}")[0].timestamp


def test_split_at_a_version() -> None:
    newer, older = split_at(entries(TEXT), "1:1.0-1")
    assert ([e.version for e in newer], [e.version for e in older]) == (["1:1.0-2"], ["1:1.0-1"])
    with pytest.raises(UsageError, match=r"1:1\.0-2, 1:1\.0-1"):
        split_at(entries(TEXT), "1.0-1")


def test_the_changelog_is_cut_back(tmp_path: Path) -> None:
    (tmp_path / "debian").mkdir()
    (tmp_path / "debian/changelog").write_text(TEXT)
    cut_back(tmp_path, "1:1.0-1")
    assert [entry.version for entry in read_changelog(tmp_path)] == ["1:1.0-1"]
    assert (tmp_path / "debian/changelog").read_text() == TEXT[TEXT.index("small (1:1.0-1)") :]
