"""Every program of tests/programs: old behaviour, hotpatch, new behaviour, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.building import assert_contains_what_it_should, build
from tests.programs.cases import Case, Trees, all_cases, build_drivers, prepare
from tests.programs.patching import (
    Snapshot,
    apply,
    assert_active,
    assert_as_before,
    assert_outcome,
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

        assert_outcome(apply(hotpatch, target, dry_run=True), "would-apply")
        assert_as_before(before, target, trees.running_object)

        outcome = apply(hotpatch, target)
        assert_outcome(outcome, "applied")
        assert_patched(target, case)
        if case.endbr64:
            assert_first_change_follows_endbr64(before.code, target.code_of(trees.running_object))

        assert_outcome(apply(hotpatch, target), "already-applied")
        assert_patched(target, case)

        revert_and_reclaim(target)
        assert_behaves(target, case, "old")
        assert_as_before(before, target, trees.running_object)

        assert_outcome(apply(hotpatch, target), "applied")
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


def assert_first_change_follows_endbr64(before: bytes, now: bytes) -> None:
    first = next(at for at in range(len(now)) if now[at] != before[at])
    assert now[first - 4 : first] == b"\xf3\x0f\x1e\xfa"
