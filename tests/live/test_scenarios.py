"""Programs with a story of their own: libraries that come and go, forks, sets of functions that
must change together, levels, hooks, many threads and many processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from naht.domain.process import ProcessKey
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from tests.programs.building import ID, build, image_of, plain_name
from tests.programs.cases import Trees, build_drivers, case_named, lay_tree, prepare
from tests.programs.patching import (
    ENGINE,
    Snapshot,
    apply,
    assert_active,
    assert_as_before,
    assert_outcome,
    hotpatches_in,
    revert,
    revert_and_reclaim,
)
from tests.programs.target import Target, assert_behaves, running, spawn, start_time

pytestmark = [pytest.mark.live, pytest.mark.compiler]

IMPATIENT = RetryPolicy(attempts=3)
BREAKPOINT = b"\xcc"


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("drivers")
    build_drivers(where)
    return where


def test_library_loaded_after_the_hotpatch_is_reached_by_applying_again(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("dlopen-after"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers) as target:
        assert target.ask("call 1") == "nothing loaded"  # it has begun
        outcome = apply(hotpatch, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "wrong-build-id")

        assert target.ask(f"load {trees.running_object}") == "ok"
        assert_behaves(target, trees.case, "old")
        assert_outcome(apply(hotpatch, target), "applied")
        assert_behaves(target, trees.case, "new")
        target.assert_beating()
        assert target.quit() == 0


def test_library_that_was_closed_and_opened_again_is_old_until_the_next_apply(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("dlopen-after"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers) as target:
        for _ in range(3):
            assert target.ask(f"load {trees.running_object}") == "ok"
            assert_behaves(target, trees.case, "old")
            assert_outcome(apply(hotpatch, target), "applied")
            assert_behaves(target, trees.case, "new")
            assert target.ask("unload") == "ok"
            assert [h.state for h in hotpatches_in(target.pid)] == ["unloaded"]
        assert target.quit() == 0


def test_children_forked_after_the_hotpatch_have_it(tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("fork-server"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers) as target:
        early = int(target.ask("fork"))
        assert_outcome(apply(hotpatch, target), "applied")
        late = int(target.ask("fork"))

        assert [target.ask(f"to {n} call -4") for n in (0, 1)] == ["-40", "0"]
        assert hotpatches_in(early) == ()
        assert [h.state for h in hotpatches_in(late)] == ["active"]
        assert early in {key.pid for key in ENGINE.find(hotpatch)}

        key = ProcessKey(late, start_time(late))
        outcome = ENGINE.revert(ID, key, retry=RetryPolicy(), dry_run=False)
        assert outcome.outcome == "reverted"
        assert target.ask("to 1 call -4") == "-40"
        assert_behaves(target, trees.case, "new")
        assert target.quit() == 0


@pytest.mark.parametrize(
    "rounds", [pytest.param(15, id="light"), pytest.param(1000, id="long", marks=pytest.mark.slow)]
)
def test_functions_that_must_agree_never_mix(rounds: int, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("consistent-set"), tmp_path)
    hotpatch = build(trees, consistency="quiescent")
    with running(trees, drivers) as target:
        assert_behaves(target, trees.case, "old")
        before = Snapshot.of(target, trees.running_object)
        for _ in range(rounds):
            assert_outcome(apply(hotpatch, target), "applied")
            assert target.ask("call 5") == "2005"
            outcome = revert(target).outcome
            assert outcome in {"reverted", "reverted-memory-kept"}
            assert target.ask("call 5") == "1005"
        target.assert_beating()
        assert_outcome(apply(hotpatch, target), "applied")
        revert_and_reclaim(target)
        assert_as_before(before, target, trees.running_object)
        assert target.quit() == 0


def test_a_function_that_never_returns_is_named_when_all_must_be_quiet(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("event-loop"), tmp_path)
    hotpatch = build(trees, consistency="quiescent")
    with running(trees, drivers) as target:
        assert_behaves(target, trees.case, "old")
        (looping,) = set(target.threads()) - {target.pid}
        before = Snapshot.of(target, trees.running_object)

        outcome = apply(hotpatch, target, retry=IMPATIENT)
        assert outcome.outcome == "busy"
        assert "work_for_ever" in outcome.cause
        assert str(looping) in outcome.cause
        assert_as_before(before, target, trees.running_object)
        assert hotpatches_in(target.pid) == ()
        assert_behaves(target, trees.case, "old")
        assert target.quit() == 0


def test_a_function_that_never_returns_may_overlap_and_status_names_its_thread(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("event-loop"), tmp_path)
    hotpatch = build(trees, consistency="overlap")
    with running(trees, drivers) as target:
        assert_behaves(target, trees.case, "old")
        (looping,) = set(target.threads()) - {target.pid}

        assert_outcome(apply(hotpatch, target), "applied")
        assert_behaves(target, trees.case, "new")
        wait_for(target, "text 0", "new step")  # the loop goes on in old code, calling new code
        (found,) = hotpatches_in(target.pid)
        assert (found.state, found.threads_in_old_code) == ("active", (looping,))

        assert_outcome(revert(target), "reverted", "reverted-memory-kept")
        assert_behaves(target, trees.case, "old")
        wait_for(target, "text 0", "old step")
        assert target.quit() == 0


def test_a_second_revert_tells_what_still_holds_the_memory(tmp_path: Path, drivers: Path) -> None:
    """A thread that began in new code, and never leaves it."""
    trees = prepare(case_named("event-loop"), tmp_path)
    with running(trees, drivers) as target:
        assert_outcome(apply(build(trees, consistency="overlap"), target), "applied")
        assert_behaves(target, trees.case, "new")  # starts the thread
        for _ in range(3):
            outcome = revert(target)
            assert outcome.outcome == "reverted-memory-kept"
            assert any("work_for_ever" in note or "thread" in note for note in outcome.notes)
            assert_behaves(target, trees.case, "old")
        assert target.quit() == 0


def wait_for(target: Target, command: str, reply: str) -> None:
    for _ in range(100_000):
        if target.ask(command) == reply:
            return
    raise AssertionError(f"{command!r} never answered {reply!r}")


def test_a_higher_level_replaces_a_lower_one_in_one_step(tmp_path: Path, drivers: Path) -> None:
    case = case_named("cumulative-levels")
    trees = prepare(case, tmp_path)
    newer = lay_tree(case, "newer", tmp_path / "newer")
    first = build(trees, hotpatch_id="level-1", level=1)
    second = build(trees, new=newer, hotpatch_id="level-2", level=2, supersedes=("level-1",))
    with running(trees, drivers) as target:
        assert two_answers(target) == ("11", "11")
        target.assert_beating()
        before = Snapshot.of(target, trees.running_object)
        assert_outcome(apply(first, target), "applied")
        assert two_answers(target) == ("21", "11")

        outcome = apply(second, target)
        assert (outcome.outcome, outcome.replaced) == ("applied", ("level-1",))
        assert two_answers(target) == ("31", "31")
        assert [(h.id, h.state) for h in hotpatches_in(target.pid)] == [("level-2", "active")]

        outcome = apply(first, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "newer-active")
        assert two_answers(target) == ("31", "31")
        target.assert_beating()

        assert revert(target, hotpatch_id="level-2").outcome.startswith("reverted")
        assert two_answers(target) == ("11", "11")
        while hotpatches_in(target.pid):
            revert(target, hotpatch_id="level-2")
        assert_as_before(before, target, trees.running_object)
        assert target.quit() == 0


def two_answers(target: Target) -> tuple[str, str]:
    return target.ask("call 1"), target.ask("call 101")


def test_two_objects_of_a_process_have_hotpatches_side_by_side(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("side-by-side"), tmp_path)
    program = build(trees, hotpatch_id="program")
    library = build(trees, object_name="libside.so", hotpatch_id="library")
    with running(trees, drivers) as target:
        assert_behaves(target, trees.case, "old")
        assert_outcome(apply(program, target), "applied")
        assert target.ask("call -4") == "1000"
        assert_outcome(apply(library, target), "applied")
        assert_active(target, trees.case, "program", "library")
        assert_behaves(target, trees.case, "new")

        assert revert(target, hotpatch_id="program").outcome.startswith("reverted")
        assert target.ask("call -4") == "1960"
        assert [(h.id, h.state) for h in hotpatches_in(target.pid) if h.state == "active"] == [
            ("library", "active")
        ]
        target.assert_beating()
        assert target.quit() == 0


def test_hooks_run_and_the_first_can_say_no(tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("hooks"), tmp_path)
    hotpatch = build(trees)
    hooks = image_of(hotpatch).hooks
    assert all((hooks.pre_apply, hooks.post_apply, hooks.pre_revert))
    with running(trees, drivers) as target:
        target.assert_beating()
        before = Snapshot.of(target, trees.running_object)
        assert target.ask("forbid") == "forbidden"
        outcome = apply(hotpatch, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "pre-apply-hook")
        assert_as_before(before, target, trees.running_object)
        assert_behaves(target, trees.case, "old")

        assert target.ask("allow") == "allowed"
        assert_outcome(apply(hotpatch, target), "applied")
        assert_behaves(target, trees.case, "new")
        revert_and_reclaim(target)
        assert_behaves(target, trees.case, "old")
        assert_outcome(apply(hotpatch, target), "applied")
        assert_behaves(target, trees.case, "new")
        assert target.quit() == 0


def test_shadow_data_belong_to_live_objects(tmp_path: Path, drivers: Path) -> None:
    """A session from before is counted for; its neighbours aren't; and what is closed is forgotten,
    though the next session lies at the same address."""
    trees = prepare(case_named("shadow-data"), tmp_path)
    hotpatch = build(trees)
    assert image_of(hotpatch).hands_over == ("naht_shadow_root",)
    with running(trees, drivers) as target:
        assert tries(target, "bad 1", 5) == ["wrong"] * 5
        assert_outcome(apply(hotpatch, target), "applied")
        assert tries(target, "bad 1", 5) == ["wrong"] * 3 + ["locked"] * 2
        assert target.ask("good 1") == "locked"
        assert target.ask("good 2") == "welcome"
        assert target.ask("close 1") == "closed"
        assert target.ask("good 1") == "welcome"
        target.assert_beating()

        assert_outcome(revert(target), "reverted", "reverted-memory-kept")
        assert tries(target, "bad 1", 5) == ["wrong"] * 5
        assert_outcome(apply(hotpatch, target), "applied")
        assert tries(target, "bad 1", 4) == ["wrong"] * 3 + ["locked"]
        target.assert_beating()
        assert target.quit() == 0


def tries(target: Target, command: str, times: int) -> list[str]:
    return [target.ask(command) for _ in range(times)]


def test_shadow_data_go_over_to_the_next_level(tmp_path: Path, drivers: Path) -> None:
    case = case_named("shadow-data")
    trees = prepare(case, tmp_path)
    newer = lay_tree(case, "newer", tmp_path / "newer")
    first = build(trees, hotpatch_id="level-1", level=1)
    second = build(trees, new=newer, hotpatch_id="level-2", level=2, supersedes=("level-1",))
    with running(trees, drivers) as target:
        assert_outcome(apply(first, target), "applied")
        assert tries(target, "bad 1", 2) == ["wrong", "wrong"]
        outcome = apply(second, target)
        assert (outcome.outcome, outcome.replaced) == ("applied", ("level-1",))
        assert target.ask("good 1") == "welcome after failures"
        assert target.ask("good 2") == "welcome"
        assert tries(target, "bad 1", 2) == ["wrong", "locked"]
        target.assert_beating()
        assert target.quit() == 0


def test_shadow_data_are_separate_after_a_fork(tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("shadow-data"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers) as target:
        assert_outcome(apply(hotpatch, target), "applied")
        assert tries(target, "bad 1", 2) == ["wrong", "wrong"]
        target.ask("fork")
        assert tries(target, "to 0 bad 1", 2) == ["wrong", "locked"]
        assert target.ask("good 1") == "welcome"
        assert tries(target, "bad 1", 2) == ["wrong", "locked"]
        assert target.quit() == 0


def test_process_of_another_build_is_refused(tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("altered-code-REFUSED"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers, tree=trees.built_new) as target:
        target.assert_beating()
        before = Snapshot.of(target, trees.built_new / "target")
        outcome = apply(hotpatch, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "wrong-build-id")
        assert image_of(hotpatch).target.build_id in outcome.cause
        assert_as_before(before, target, trees.built_new / "target")
        assert target.quit() == 0


def test_code_that_somebody_else_changed_is_refused_with_its_address(
    tmp_path: Path, drivers: Path
) -> None:
    trees = prepare(case_named("altered-code-REFUSED"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers, workers=0) as target:
        assert_behaves(target, trees.case, "old")
        address = entry_in(target, trees, hotpatch_function(hotpatch, "clamp"))
        original = poke(target.pid, address, BREAKPOINT)
        before = Snapshot.of(target, trees.running_object)

        outcome = apply(hotpatch, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "altered-code")
        assert f"{address:#x}" in outcome.cause
        assert_as_before(before, target, trees.running_object)

        poke(target.pid, address, original)
        assert_outcome(apply(hotpatch, target), "applied")
        assert_behaves(target, trees.case, "new")
        assert target.quit() == 0


def hotpatch_function(hotpatch: VerifiedHotpatch, name: str) -> int:
    functions = image_of(hotpatch).functions
    return next(f.parts[0].offset for f in functions if plain_name(f.name) == name)


def entry_in(target: Target, trees: Trees, offset: int) -> int:
    wanted = str(trees.running_object)
    first = next(line for line in target.maps() if line.endswith(wanted))
    return int(first.split("-")[0], 16) + offset  # a PIE's first segment is at address 0


def poke(pid: int, address: int, new: bytes) -> bytes:
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        old = os.pread(memory.fileno(), len(new), address)
        os.pwrite(memory.fileno(), new, address)
    return old


@pytest.mark.parametrize(
    ("threads", "nap"),
    [
        pytest.param(100, 20_000, id="100"),
        pytest.param(1000, 500_000, id="1000", marks=pytest.mark.slow),
    ],
)
def test_many_threads(threads: int, nap: int, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("thousand-threads"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers, workers=threads, nap=nap) as target:
        assert_behaves(target, trees.case, "old")
        before = Snapshot.of(target, trees.running_object)
        outcome = apply(hotpatch, target)
        assert (outcome.outcome, outcome.threads) == ("applied", threads + 1)
        assert_behaves(target, trees.case, "new")
        target.assert_beating()
        target.assert_not_traced()
        revert_and_reclaim(target)
        assert_behaves(target, trees.case, "old")
        assert_as_before(before, target, trees.running_object)
        assert target.quit() == 0


@pytest.mark.parametrize(
    "rounds", [pytest.param(30, id="light"), pytest.param(1000, id="long", marks=pytest.mark.slow)]
)
def test_function_in_which_threads_spin(rounds: int, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("thousand-threads"), tmp_path)
    hotpatch = build(trees)
    with running(trees, drivers, workers=4, nap=0) as target:
        target.assert_beating()
        for _ in range(rounds):
            assert_outcome(apply(hotpatch, target, retry=RetryPolicy()), "applied")
            assert target.ask("call -4") == "0"
            outcome = revert(target, retry=RetryPolicy())
            assert_outcome(outcome, "reverted", "reverted-memory-kept")
            assert target.ask("call -4") == "-40"
        target.assert_beating()
        assert target.quit() == 0


@pytest.mark.parametrize(
    "count", [pytest.param(12, id="12"), pytest.param(200, id="200", marks=pytest.mark.slow)]
)
def test_many_processes_of_one_library(count: int, tmp_path: Path, drivers: Path) -> None:
    trees = prepare(case_named("many-processes"), tmp_path)
    hotpatch = build(trees)
    targets = [spawn(trees.case, trees.running, drivers) for _ in range(count)]
    bystander = spawn(trees.case, trees.built_new, drivers)
    try:
        for target in targets:
            assert_behaves(target, trees.case, "old")
        found = {key.pid: key for key in ENGINE.find(hotpatch)}
        assert found.keys() >= {target.pid for target in targets}
        assert bystander.pid not in found
        keys = [found[target.pid] for target in targets]
        for key in keys:
            assert_outcome(
                ENGINE.apply(hotpatch, key, retry=RetryPolicy(), dry_run=False), "applied"
            )
        assert set(ENGINE.find_record(ID)) >= set(keys)
        for target in targets:
            assert_behaves(target, trees.case, "new")
            assert target.quit() == 0
    finally:
        for target in (*targets, bystander):
            target.end()
