"""What of two versions is built: the choice by CVE, before anything is fetched or compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.debian.archive import Archive
from naht.build.debian.builder import build_debian
from naht.build.debian.request import DebianRequest
from naht.build.debian.source import SourcePackage
from naht.errors import UsageError

CHANGELOG = """\
small (1-2) unstable; urgency=medium

  * CVE-2024-1111, CVE-2024-2222

 -- n <n@n.org>  Mon, 01 Jul 2024 12:00:00 +0000
"""


def test_a_cve_that_no_patch_fixes_is_not_claimed_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "debian/patches").mkdir(parents=True)
    (tree / "debian/changelog").write_text(CHANGELOG)
    (tree / "debian/patches/CVE-2024-1111.patch").write_text("--- a/x.c\n+++ b/x.c\n")
    (tree / ".pc").mkdir()
    (tree / ".pc/applied-patches").write_text("CVE-2024-1111.patch\n")
    source = SourcePackage("small", "1-2", tmp_path / "small_1-2.dsc", tree)
    monkeypatch.setattr("naht.build.debian.builder.host_archive", lambda *_: _Kept(source))
    request = DebianRequest(
        "small", "1-1", "1-2", tmp_path / "out", cache=tmp_path / "cache",
        cves=("CVE-2024-1111", "CVE-2024-2222"),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"says that it fixes CVE-2024-2222\."):
        build_debian(request, print)


class _Kept(Archive):
    """Holds one source and no network."""

    def __init__(self, source: SourcePackage) -> None:
        object.__setattr__(self, "apt", self)
        object.__setattr__(self, "source", source)

    def update(self) -> None:
        pass

    def fetch_source(self, name: str, version: str) -> SourcePackage:
        kept: SourcePackage = self.source  # type: ignore[attr-defined]
        assert version == kept.version
        return kept
