from __future__ import annotations

import json
from pathlib import Path

import pytest

from naht.errors import UsageError
from scripts.corpus.cases import Case, by_package, read_cases, select

LIST = Path(__file__).parents[1] / "corpus/cases.json"


def listed(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(rows))
    return path


def row(**changes: object) -> dict[str, object]:
    return {"package": "tiff", "version": "4.5.0-6+deb12u1", "patch": "CVE-1.patch", **changes}


def test_the_list_of_the_checkout_holds_enough_for_the_aims() -> None:
    cases = [case for case in read_cases(LIST) if case.changes_code]
    assert len(cases) >= 150
    assert len({case.package for case in cases}) >= 30


def test_what_a_case_says(tmp_path: Path) -> None:
    rows = [
        row(
            patch="security/CVE-1.patch",
            change_class="A2 bodies + macro/enum/proto/const-only",
            cves=["CVE-1"],
            code_files=["a.c"],
            unknown="is left alone",
        )
    ]
    (case,) = read_cases(listed(tmp_path, *rows))
    assert case.class_letter == "A2"
    assert case.changes_code
    assert case.key == "tiff/security%CVE-1.patch"


@pytest.mark.parametrize(
    "changes",
    [
        {"package": "../etc"},
        {"package": "Tiff"},
        {"version": "1 2"},
        {"patch": "../../../etc/passwd"},
        {"patch": "/etc/passwd"},
        {"patch": "a\nb"},
        {"patch": ""},
        {"package": 3},
    ],
)
def test_names_that_could_lead_astray_are_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        read_cases(listed(tmp_path, row(**changes)))


def test_a_list_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"package": 1}')
    with pytest.raises(UsageError):
        read_cases(path)


CASES = (
    Case("tiff", "1", "CVE-1.patch", change_class="A bodies only"),
    Case("vim", "1", "patches/CVE-2.patch", change_class="D struct"),
    Case("tiff", "1", "CVE-3.patch", change_class="A2 macros"),
)


def test_selection_by_pattern() -> None:
    assert select(CASES) == CASES
    assert select(CASES, packages=["ti*"]) == (CASES[0], CASES[2])
    assert select(CASES, patches=["*CVE-2*"]) == (CASES[1],)
    assert select(CASES, classes=["A"]) == (CASES[0],)
    assert select(CASES, packages=["tiff"], classes=["D"]) == ()


def test_cheap_packages_come_first_and_unknown_ones_last() -> None:
    cases = (*CASES, Case("zlib", "1", "CVE-4.patch"))
    order = [group[0].package for group in by_package(cases, {"vim": 10, "tiff": 99})]
    assert order == ["vim", "tiff", "zlib"]
    assert by_package(cases, {"tiff": 1})[0] == (CASES[0], CASES[2])
