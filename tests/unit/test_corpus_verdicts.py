from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from naht.errors import UsageError
from scripts.corpus.cases import Case
from scripts.corpus.report import Circumstances, build_seconds, judged, render
from scripts.corpus.results import (
    CaseResult,
    Check,
    ObjectResult,
    Proof,
    Refusal,
    Store,
    Trouble,
)
from scripts.corpus.verdicts import Note, judge, read_notes

CASE = Case("tiff", "4.5", "CVE-1.patch", ("CVE-1",), change_class="A bodies only")
REFUSAL = Refusal("layout-changed", "struct tiff grows.", "Restart.")


def live_check(**changes: object) -> Check:
    values = {"kind": "driver", "name": "decode", "reverted": True, "pause_ns": 250_000, **changes}
    return Check(**values)  # type: ignore[arg-type]


def thing(*checks: Check, **changes: object) -> ObjectResult:
    values = {"hotpatch_bytes": 5000, "checks": list(checks), **changes}
    return ObjectResult("libtiff.so", ["libtiff6:usr/lib/libtiff.so"], **values)  # type: ignore[arg-type]


def result(*objects: ObjectResult, trouble: Trouble | None = None) -> CaseResult:
    found = CaseResult.of(CASE)
    found.objects, found.trouble = list(objects), trouble
    return found


def outcomes(found: CaseResult, *notes: Note) -> list[str]:
    return [verdict.outcome for verdict in judge(found, notes)]


def test_live_needs_a_process_that_was_patched_and_one_that_was_reverted() -> None:
    assert outcomes(result(thing(live_check()))) == ["live"]
    assert outcomes(result(thing())) == ["failed"]
    assert outcomes(result(thing(live_check(outcome="unused")))) == ["failed"]
    assert outcomes(result(thing(live_check(reverted=False)))) == ["failed"]
    both = thing(live_check(reverted=False), live_check(kind="program"))
    assert outcomes(result(both)) == ["live"]


def test_the_worst_decides() -> None:
    bad = thing(live_check(), live_check(outcome="failed", problems=["it crashed"]))
    refused = thing(refusal=REFUSAL)
    assert outcomes(result(thing(live_check()), bad)) == ["failed"]
    assert outcomes(result(thing(live_check()), refused)) == ["refused-wrong"]
    assert outcomes(result(refused, bad)) == ["failed", "refused-wrong"]


def test_what_is_not_shipped_decides_nothing() -> None:
    own = ObjectResult("testprogram", [], REFUSAL)
    assert outcomes(result(own)) == ["no-change"]
    assert outcomes(result(own, thing(live_check()))) == ["live"]


def test_an_object_whose_code_stays_the_same_decides_nothing() -> None:
    same = thing(refusal=Refusal("nothing-changed", "Only line numbers differ."))
    assert outcomes(result(same)) == ["no-change"]
    assert outcomes(result(same, thing(live_check()))) == ["live"]


def test_a_refusal_by_the_engine_counts_as_one_by_the_builder() -> None:
    check = live_check(outcome="refused", refusal=Refusal("seccomp-strict", "It is confined."))
    (verdict,) = judge(result(thing(check, live_check())), ())
    assert (verdict.outcome, verdict.reason) == ("refused-wrong", "seccomp-strict")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "refused-right"),
        ({"reason": "data-changed"}, "refused-wrong"),
        ({"patch": "CVE-2.patch"}, "refused-wrong"),
        ({"package": "vim"}, "refused-wrong"),
        ({"object": "libtiff.so"}, "refused-right"),
        ({"object": "tiffinfo"}, "refused-wrong"),
    ],
)
def test_a_note_excuses_one_refusal_and_no_other(change: dict[str, str], expected: str) -> None:
    values = {"package": "tiff", "patch": "CVE-1.patch", "reason": "layout-changed",
              "verdict": "refused-right", "why": "It is public.", **change}  # fmt: skip
    assert outcomes(result(thing(refusal=REFUSAL)), Note(**values)) == [expected]  # type: ignore[arg-type]


def test_a_note_never_excuses_a_failure() -> None:
    note = Note("tiff", "CVE-1.patch", "live", "refused-right", "no")
    bad = thing(live_check(outcome="failed", problems=["it crashed"]))
    assert outcomes(result(bad), note) == ["failed"]


def test_trouble_before_any_object() -> None:
    broken = Trouble("build", "ToolError", "make failed.")
    refused = Trouble("trees", "BuildRefusedError", "No patches.", reason="no-series")
    assert outcomes(result(trouble=broken)) == ["failed"]
    assert outcomes(result(trouble=refused)) == ["refused-wrong"]


def test_notes_with_a_slip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    assert read_notes(path) == ()
    path.write_text('[{"package": "a", "patch": "b", "reason": "c", "verdict": "fine", "why": ""}]')
    with pytest.raises(UsageError):
        read_notes(path)


def proof(old: str, patched: str, reverted: str, new: str) -> Proof:
    return Proof("p", old, patched, reverted, new)


def test_a_hole_is_closed_only_by_the_new_builds_answer_that_goes_away_again() -> None:
    assert proof("open", "shut", "open", "shut").closed
    assert not proof("open", "open", "open", "open").closed
    assert not proof("open", "odd", "open", "shut").closed
    assert not proof("open", "shut", "shut", "shut").closed


def test_results_are_found_again_for_the_same_version_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.load(CASE) is None
    found = result(thing(live_check(proof=proof("a", "b", "a", "b"))))
    store.save(CASE, found)
    assert store.load(CASE) == found
    assert store.load(Case("tiff", "4.6", "CVE-1.patch")) is None
    store.path(CASE).write_text("{")
    assert store.load(CASE) is None


HOW = Circumstances("2026-01-02", "make corpus", "a machine", "1.0")


def page(make: Callable[[], CaseResult]) -> str:
    return render(judged([(CASE, make())], ()), 7, HOW)


def test_the_report_counts_and_tells() -> None:
    shown = page(lambda: result(thing(live_check(proof=proof("open", "shut", "open", "shut")))))
    assert "| live | at least 90 % | 1 (100.0%) | yes |" in shown
    assert "| tiff | 1 | 1 |  |  |  |  |" in shown
    assert "| tiff | CVE-1.patch | driver decode | open | shut |" in shown
    assert "cases with a result: 1 of 7" in shown


def test_the_report_names_what_went_wrong() -> None:
    shown = page(lambda: result(thing(refusal=Refusal("layout-changed", "a|b\n`c` <d>"))))
    assert "## Refused, and wrongly so" in shown
    assert "a\\|b 'c' &lt;d>" in shown
    assert "| refused wrongly + failed | at most 3 % | 1 (100.0%) | **no** |" in shown


def test_cases_without_a_change_count_for_nothing() -> None:
    shown = page(result)
    assert "| cases that change code | at least 150 | 0 |" in shown
    assert "- tiff: CVE-1.patch" in shown


def test_builds_out_of_the_cache_say_nothing_of_the_time() -> None:
    first, second = result(), result()
    first.seconds, second.seconds = {"build": 0.001}, {"build": 90.0}
    assert build_seconds(judged([(CASE, first)], ())) == {}
    assert build_seconds(judged([(CASE, first), (CASE, second)], ())) == {"tiff": 90.0}
