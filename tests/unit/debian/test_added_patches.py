"""Which patches an update added, judged from what changelog and patches say; doubt refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.debian.added_patches import added_patches
from naht.build.debian.changelog import entries, split_at
from naht.build.debian.patch_notes import notes_of, patches_for
from naht.build.debian.patch_stack import PatchStack
from naht.errors import BuildRefusedError

OLD = "  * First, with build-fix.patch and CVE-2023-1111.\n"
BEFORE, AFTER = "Fri, 03 Mar 2023 12:00:00 +0000", "Fri, 05 Jan 2024 12:00:00 +0000"


def stack(tmp_path: Path, patches: dict[str, str]) -> PatchStack:
    """`patches`: names and headers, in the order of the series."""
    for name, header in patches.items():
        path = tmp_path / "debian/patches" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{header}\n--- a/x.c\n+++ b/x.c\nCVE-1999-0001 is not of the header\n")
    (tmp_path / ".pc").mkdir()
    (tmp_path / ".pc/applied-patches").write_text("".join(f"{name}\n" for name in patches))
    return PatchStack.of(tmp_path)


def judged(tmp_path: Path, patches: dict[str, str], new: str, old: str = OLD) -> tuple[str, ...]:
    text = (
        f"small (1-2) s; u=x\n\n{new}\n -- n <n@n>  Mon, 01 Jul 2024 12:00:00 +0000\n\n"
        f"small (1-1) s; u=x\n\n{old}\n -- n <n@n>  Mon, 01 Jan 2024 12:00:00 +0000\n"
    )
    return added_patches(stack(tmp_path, patches), *split_at(entries(text), "1-1"))


KEPT = {"build-fix.patch": f"Date: {BEFORE}", "CVE-2023-1111.patch": "Description: fix"}


@pytest.mark.parametrize(
    ("patches", "notes"),
    [
        pytest.param({"CVE-2024-1.patch": ""}, "CVE-2024-0002", id="other-cve-refused"),
        pytest.param({"fix.patch": "Description: x"}, "  * Something else.", id="unknown"),
    ],
)
def test_nothing_that_is_surely_new(tmp_path: Path, patches: dict[str, str], notes: str) -> None:
    with pytest.raises(BuildRefusedError, match="No patch can be told"):
        judged(tmp_path, {**KEPT, **patches}, notes)


@pytest.mark.parametrize(
    ("name", "header", "notes"),
    [
        pytest.param("CVE-2024-1234.patch", "", "  * Fix CVE-2024-1234", id="cve-in-name"),
        pytest.param("0001-cve-2024-1234-x.diff", "", "  * CVE-2024-1234.", id="lower-case"),
        pytest.param("over.patch", "Bug: CVE-2024-1234", "  * CVE-2024-1234", id="cve-in-header"),
        pytest.param("over.patch", "", "  * debian/patches/over.patch: new", id="file-name"),
        pytest.param(
            "0001.patch", "Subject: [PATCH 1/2] Fix a bad\n bound in parse()",
            "  * Fix a bad bound\n    in parse", id="subject",
        ),
        pytest.param(
            "over.patch", "Bug-Debian: https://bugs.debian.org/123456",
            "  * Something. (Closes: #123456)", id="bug",
        ),
        pytest.param("over.patch", f"Date: {AFTER}", "  * Fix overflow.", id="written-since"),
    ],
)  # fmt: skip
def test_evidence(tmp_path: Path, name: str, header: str, notes: str) -> None:
    assert judged(tmp_path, {**KEPT, name: header}, notes) == (name,)


def test_several_in_the_order_of_the_series(tmp_path: Path) -> None:
    patches = {"CVE-2024-2000-2.patch": "", "CVE-2024-2000-1.patch": "", "z.patch": ""}
    found = judged(tmp_path, {**KEPT, **patches}, "  * CVE-2024-2000 (z.patch, too)")
    assert found == tuple(patches)


@pytest.mark.parametrize(
    ("patches", "notes", "problem"),
    [
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": "", "after.patch": ""}, "  * CVE-2024-1234",
            "after.patch", id="one-after-it-is-not-explained",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""}, "  * CVE-2024-1234\n  * CVE-2024-5678",
            "CVE-2024-5678", id="a-cve-without-a-patch",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""}, "  * CVE-2024-1234\n  * Drop useless.patch",
            "more than new patches", id="a-patch-went",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""}, "  * CVE-2024-1234\n  * Build with --disable-esi",
            "more than new patches", id="built-in-another-way",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""}, "  * CVE-2024-1234\n  * build-fix.patch again",
            "build-fix.patch", id="named-in-both",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""}, "  * CVE-2024-1234\n  * CVE-2023-1111.patch, too",
            "CVE-2023-1111.patch", id="amended",
        ),
        pytest.param(
            {**KEPT, "CVE-2023-1111-again.patch": "", "CVE-2024-1234.patch": ""},
            "  * CVE-2024-1234\n  * Regression of CVE-2023-1111", "again", id="a-regression",
        ),
        pytest.param(
            {**KEPT, "CVE-2024-1234.patch": ""},
            "  * CVE-2024-1234, which CVE-2023-1111 made possible",
            "CVE-2023-1111", id="a-cve-that-has-an-old-patch",
        ),
        pytest.param(
            {"CVE-2023-1111.patch": f"Date: {AFTER}", "over.patch": f"Date: {AFTER}"},
            "  * Fix overflow.", "over.patch", id="dates-of-an-export",
        ),
    ],
)  # fmt: skip
def test_doubt_refuses_and_lists_candidates(
    tmp_path: Path, patches: dict[str, str], notes: str, problem: str
) -> None:
    with pytest.raises(BuildRefusedError) as refusal:
        judged(tmp_path, patches, notes)
    assert refusal.value.reason == "older-state-unknown"
    assert problem in refusal.value.cause
    assert "--patch" in refusal.value.next_step


def test_patches_of_a_cve(tmp_path: Path) -> None:
    made = stack(
        tmp_path,
        {
            "a.patch": "Bug: CVE-2024-1111",
            "CVE-2024-1111.patch": "",
            "CVE-2024-2222.patch": "Note: completes CVE-2024-1111",
            "CVE-2024-3333.patch": "",
            "named.patch": "",
        },
    )
    text = "small (1) s; u=x\n\n  * CVE-2024-1111, CVE-2024-3333\n  * named.patch: CVE-2024-1111\n"
    found = patches_for(made, entries(text), ["cve-2024-1111"])
    assert found == ("a.patch", "CVE-2024-1111.patch", "CVE-2024-2222.patch", "named.patch")
    assert patches_for(made, entries(text), ["CVE-2024-9999"]) == ()
    assert patches_for(made, [], ["CVE-1999-0001"]) == ()


def test_a_line_of_prose_does_not_end_a_header(tmp_path: Path) -> None:
    made = stack(tmp_path, {"a.patch": "The two trees\ndiff a lot.\nBug: CVE-2024-1111"})
    assert notes_of(made, "a.patch").cves == {"CVE-2024-1111"}
