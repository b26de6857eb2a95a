from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from naht.build.debian.patch_notes import header_field, header_text
from naht.errors import UsageError
from scripts.corpus.__main__ import Corpus
from scripts.corpus.authored import Authored, Authors
from scripts.corpus.cases import Case, read_cases
from scripts.corpus.report import Circumstances, judged, render
from scripts.corpus.results import CaseResult, Check, ObjectResult, Refusal

CORPUS = Path(__file__).parents[1] / "corpus"
CASE = Case("curl", "1", "set/CVE-1.patch", change_class="D struct/class layout change")
ALLOW = {"switch": "layout", "name": "struct a", "why": "It never outlives a call."}
SAID: dict[str, Any] = {"author": "Ann", "why": "The member stays."}


def wrote(folder: Path, patch: str | None, said: dict[str, Any] | None) -> Authors:
    place = folder / "curl"
    place.mkdir(exist_ok=True)
    if patch is not None:
        (place / "set%CVE-1.patch").write_text(patch)
    if said is not None:
        (place / "set%CVE-1.patch.json").write_text(json.dumps(said))
    return Authors(folder)


def test_every_author_of_the_checkout_wrote_for_a_case_and_signed() -> None:
    cases = {case.key: case for case in read_cases(CORPUS / "cases.json")}
    files = sorted(f for f in (CORPUS / "authors").glob("*/*") if f.suffix != ".json")
    assert files
    for file in files:
        found = Authors(CORPUS / "authors").of(cases[f"{file.parent.name}/{file.name}"])
        assert found is not None and found.has_patch
        assert header_field(header_text(file), "Author").strip() == found.author
    for file in (CORPUS / "authors").glob("*/*.json"):
        assert f"{file.parent.name}/{file.stem}" in cases


def test_most_cases_have_no_author(tmp_path: Path) -> None:
    assert Authors(tmp_path / "none").of(CASE) is None


def test_a_patch_with_its_reason_and_allowances(tmp_path: Path) -> None:
    more = {"switch": "layout", "name": "struct b", "why": "Nor this."}
    found = wrote(tmp_path, "diff", {**SAID, "allow": [ALLOW, more]}).of(CASE)
    assert found is not None
    assert (found.author, found.why, found.has_patch) == ("Ann", "The member stays.", True)
    assert found.allowances() == {"allow_layout": frozenset({"struct a", "struct b"})}


def test_allowances_alone_stand_for_the_distributions_patch(tmp_path: Path) -> None:
    found = wrote(tmp_path, None, {**SAID, "allow": [ALLOW]}).of(CASE)
    assert found is not None
    assert not found.has_patch


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("diff", None),
        (None, SAID),
        ("diff", {"author": "Ann"}),
        ("diff", {"author": "", "why": "x"}),
        ("diff", {**SAID, "allow": [{**ALLOW, "why": ""}]}),
        ("diff", {**SAID, "allow": [{**ALLOW, "switch": "everything"}]}),
        ("diff", {**SAID, "reason": "x"}),
    ],
)
def test_what_is_not_signed_or_not_explained_is_refused(
    tmp_path: Path, patch: str | None, said: dict[str, Any] | None
) -> None:
    with pytest.raises(UsageError):
        wrote(tmp_path, patch, said).of(CASE)


def test_another_patch_is_another_result(tmp_path: Path) -> None:
    first, again = (wrote(tmp_path, "diff", SAID).of(CASE) for _ in range(2))
    assert first == again
    assert wrote(tmp_path, "other", SAID).of(CASE) != first


def result(authored: Authored | None, refusal: Refusal | None = None) -> CaseResult:
    found = CaseResult.of(CASE)
    found.authored = authored
    checks = [] if refusal else [Check("driver", "d", reverted=True)]
    thing = ObjectResult("libcurl.so", ["libcurl4:usr/lib/libcurl.so.4"], refusal, checks=checks)
    thing.hotpatch_bytes = 0 if refusal else 5000
    found.objects = [thing]
    return found


def test_a_case_is_due_again_when_an_author_wrote_something(tmp_path: Path) -> None:
    options = argparse.Namespace(
        list=CORPUS / "cases.json", notes=tmp_path / "notes", cache=tmp_path / "cache",
        authors=tmp_path, again=False, only_failed=False,
    )  # fmt: skip
    corpus = Corpus(options)
    assert corpus._is_due(CASE)
    corpus.store.save(CASE, result(None))
    assert not corpus._is_due(CASE)
    authored = wrote(tmp_path, "diff", SAID).of(CASE)
    assert corpus._is_due(CASE)
    corpus.store.save(CASE, result(authored))
    assert not corpus._is_due(CASE)


def page(found: CaseResult) -> str:
    how = Circumstances("2026-01-02", "make corpus", "a machine", "1.0")
    return render(judged([(CASE, found)], ()), 1, how)


def test_the_results_say_openly_what_is_live_by_an_author(tmp_path: Path) -> None:
    authored = wrote(tmp_path, "diff", {**SAID, "allow": [ALLOW]}).of(CASE)
    shown = page(result(authored))
    assert "| live | at least 90 % | 1 (100.0%) | yes |" in shown
    assert "| … of those by an author's patch | said openly | 1 | yes |" in shown
    assert "| curl | 1 | 1 |  |  |  | 1 |" in shown
    assert "## Live by an author's patch" in shown
    assert "| Ann | yes | layout struct a: It never outlives a call. | The member stays. |" in shown


def test_what_is_live_as_it_is_or_refused_all_the_same_is_no_authors(tmp_path: Path) -> None:
    authored = wrote(tmp_path, "diff", SAID).of(CASE)
    for found in (result(None), result(authored, Refusal("layout-changed", "It grows."))):
        shown = page(found)
        assert "| … of those by an author's patch | said openly | 0 | yes |" in shown
        assert "## Live by an author's patch" not in shown
