"""A case of the corpus from its source package to the last revert: the clean root, the recorded
build, the hotpatch, live processes, the hole that closes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from naht.hotpatch.container import read_hotpatch
from scripts.corpus.cases import Case
from scripts.corpus.results import CaseResult
from scripts.corpus.verdicts import judge
from scripts.corpus.worker import Request, Worker
from tests.builders.tiny_source_package import NAME, PATCH, VERSION, write_source_package

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.compiler]

SHARED_ROOTS = Path("/var/cache/naht-build/roots")  # a clean root takes minutes and a network
DRIVER = """/* object: libseam.so.1
 * link: -lseam
 * proves: CVE-2099-0001.patch
 */
#include "driver.h"
#include <seam.h>

void exercise(void)
{
	if (seam_length("abc") != 3)
		driver_fail("a short text has another length");
}

const char *prove(void)
{
	return seam_length("much too long") < 0 ? "refused" : "taken";
}
"""
RUNS = {
    "runs": [
        {"program": "usr/bin/seam", "arguments": ["abc"]},
        {"program": "usr/bin/seam", "arguments": ["much too long"], "proves": [PATCH]},
    ]
}


AUTHORED = """Author: Ann <ann@example.org>
Description: texts that are too long have another answer
---
--- a/seam.c
+++ b/seam.c
@@ -5,5 +5,7 @@
 {
 \tsize_t length = strlen(text);
\x20
+\tif (length > 5)
+\t\treturn -2;
 \treturn (int)length;
 }
"""
WHY = {"author": "Ann <ann@example.org>", "why": "It answers -2."}


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's source, its data, and a cache that both cases share."""
    where = tmp_path_factory.mktemp("corpus")
    cache = where / "cache"
    cache.mkdir()
    if SHARED_ROOTS.is_dir():
        (cache / "roots").symlink_to(SHARED_ROOTS)
    (where / "source").mkdir()
    write_source_package(cache, where / "source")
    data = where / "drivers" / NAME
    data.mkdir(parents=True)
    (data / "length.c").write_text(DRIVER)
    (data / "runs.json").write_text(json.dumps(RUNS))
    return where


@pytest.fixture(scope="module")
def result(where: Path) -> CaseResult:
    return run_case(where, "authors-none")


@pytest.fixture(scope="module")
def authored(where: Path) -> CaseResult:
    """The same case, with an author's patch in place of the distribution's."""
    wrote = where / "authors" / NAME
    wrote.mkdir(parents=True)
    (wrote / PATCH).write_text(AUTHORED)
    (wrote / f"{PATCH}.json").write_text(json.dumps(WHY))
    return run_case(where, "authors")


def run_case(where: Path, authors: str) -> CaseResult:
    scratch = where / f"scratch-{authors}"
    scratch.mkdir()
    request = Request(
        case=Case(NAME, VERSION, PATCH, ("CVE-2099-0001",), change_class="A bodies only"),
        cache=str(where / "cache"), suite="bookworm", entries="", jobs=2,
        drivers=str(where / "drivers"), authors=str(where / authors), scratch=str(scratch),
        keep=True,
    )  # fmt: skip
    return Worker(request).run()


def test_the_case_is_live(result: CaseResult) -> None:
    assert [verdict.outcome for verdict in judge(result, ())] == ["live"], result
    (library,) = (thing for thing in result.objects if thing.shipped_as)
    assert library.shipped_as == [f"{NAME}:usr/lib/x86_64-linux-gnu/libseam.so.1"]
    assert library.functions == ["seam_length"]


def test_every_process_was_patched_reverted_and_looked_at(result: CaseResult) -> None:
    checks = [check for thing in result.objects for check in thing.checks]
    assert {check.kind for check in checks} == {"driver", "program"}
    assert all(check.outcome == "live" and check.reverted for check in checks), checks
    assert all(check.pause_ns > 0 for check in checks)


def test_the_hole_closes_in_the_driver_and_in_the_program(result: CaseResult) -> None:
    proofs = {c.kind: c.proof for thing in result.objects for c in thing.checks if c.proof}
    assert set(proofs) == {"driver", "program"}
    assert proofs["driver"].old == "taken"
    assert proofs["driver"].patched == "refused"
    assert proofs["program"].patched == "status 0: -1"
    assert all(proof.closed for proof in proofs.values())


def test_an_authors_patch_is_built_and_put_in_instead(
    where: Path, result: CaseResult, authored: CaseResult
) -> None:
    assert result.authored is None
    assert authored.authored is not None
    assert [verdict.outcome for verdict in judge(authored, ())] == ["live"], authored
    proofs = {c.kind: c.proof for thing in authored.objects for c in thing.checks if c.proof}
    assert proofs["program"].patched == "status 0: -2"
    assert all(proof.closed for proof in proofs.values())


def test_its_hotpatch_says_who_wrote_what_instead_of_what(
    where: Path, authored: CaseResult
) -> None:
    (file,) = (where / "scratch-authors" / "change").rglob("hotpatch.naht")
    (written,) = read_hotpatch(file).manifest.provenance.authors_patches
    assert (written.patch, written.replaces) == (PATCH, (PATCH,))
    assert written.author == "Ann <ann@example.org>"
    assert written.digest == hashlib.sha256(AUTHORED.encode()).hexdigest()
