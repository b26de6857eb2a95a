"""Programs whose change must not become a hotpatch: each is refused with its reason, nothing
written, and the way out said."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.errors import BuildRefusedError
from tests.programs.building import build
from tests.programs.cases import Case, all_cases, build_drivers, prepare
from tests.programs.target import assert_behaves, running

pytestmark = pytest.mark.compiler

CASES = [case for case in all_cases() if case.refused]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("drivers")
    build_drivers(where)
    return where


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case: Case, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case, tmp_path)
    with running(trees, drivers) as target:
        assert_behaves(target, case, "old")
        assert target.quit() == 0
    with running(trees, drivers, tree=trees.built_new) as target:
        assert_behaves(target, case, "new")
        assert target.quit() == 0

    with pytest.raises(BuildRefusedError) as refusal:
        build(trees)
    assert refusal.value.reason == case.refused
    assert case.names in refusal.value.cause
    assert refusal.value.next_step


def test_every_refused_case_says_so_in_its_name() -> None:
    for case in all_cases():
        assert ("-REFUSED" in case.name) == bool(case.refused or case.name.startswith("altered-"))
