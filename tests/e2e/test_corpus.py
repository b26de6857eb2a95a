"""A case of the corpus from its source package to the last revert: the clean root, the recorded
build, the hotpatch, live processes, the hole that closes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
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
    (where / "scratch").mkdir()
    request = Request(
        case=Case(NAME, VERSION, PATCH, ("CVE-2099-0001",), change_class="A bodies only"),
        cache=str(cache), suite="bookworm", entries="", jobs=2, drivers=str(where / "drivers"),
        authors=str(where / "authors"), scratch=str(where / "scratch"),
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
