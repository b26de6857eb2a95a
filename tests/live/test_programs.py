"""Every program of tests/programs: old behaviour, hotpatch, new behaviour, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.building import assert_contains_what_it_should, build, image_of
from tests.programs.cases import Case, Trees, all_cases, build_drivers, prepare
from tests.programs.patching import (
    Snapshot,
    apply,
    assert_active,
    hotpatches_in,
    revert_and_reclaim,
)
from tests.programs.target import Target, assert_behaves, running

pytestmark = [pytest.mark.live, pytest.mark.compiler]

CASES = [case for case in all_cases() if not case.refused and not case.scenario]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("drivers")
    build_drivers(where)
    return where


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_program(case: Case, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case, tmp_path)
    assert_fixed_by_a_restart(trees, drivers)
    hotpatch = build(trees)
    assert_contains_what_it_should(case, hotpatch)
    with running(trees, drivers) as target:
        assert_behaves(target, case, "old")
        before = Snapshot.of(target, trees.running_object)

        outcome = apply(hotpatch, target)
        assert outcome.outcome == "applied", outcome
        assert_patched(target, case)
        if case.endbr64:
            assert_entries_keep_endbr64(target, trees, before, image_of(hotpatch).functions)

        assert apply(hotpatch, target).outcome == "already-applied"
        assert_patched(target, case)

        revert_and_reclaim(target)
        assert_behaves(target, case, "old")
        assert Snapshot.of(target, trees.running_object) == before

        assert apply(hotpatch, target).outcome == "applied"
        assert_patched(target, case)
        assert target.quit() == 0


def assert_fixed_by_a_restart(trees: Trees, drivers: Path) -> None:
    """The case itself is sound: a fresh process of the new build behaves in the new way."""
    assert any(row.old != row.new for row in trees.case.expect)
    with running(trees, drivers, tree=trees.built_new) as target:
        assert_behaves(target, trees.case, "new")
        assert target.quit() == 0


def assert_patched(target: Target, case: Case) -> None:
    assert_active(target, case)
    assert_behaves(target, case, "new")
    if case.workers:
        target.assert_beating()
    target.assert_not_traced()
    target.assert_never_writable_and_executable()
