"""A host that hardly lets the target run: its threads' own time counts, not the clock's. What comes
of it is applied or busy, and never anything in between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.native.loans import find_lent_threads
from tests.builders.live_programs import wait_until
from tests.builders.own_case import own_case
from tests.programs.building import build
from tests.programs.cases import Trees
from tests.programs.patching import (
    PATIENT,
    Snapshot,
    apply,
    assert_as_before,
    assert_outcome,
    hotpatches_in,
    revert,
    revert_and_reclaim,
)
from tests.programs.target import Target, running

pytestmark = [pytest.mark.live, pytest.mark.compiler]

NO_DRIVERS = Path("unused")  # an executable brings its own
LONG_LOANS = RetryPolicy(attempts=200, longest_loan_ns=600_000_000_000, stop_timeout_ns=1 << 40)
SHORT_LOANS = RetryPolicy(attempts=3, longest_loan_ns=20_000_000)
SIMPLE = """\
#include <string.h>
#include "case.h"
NOINLINE long scaled(long n) { return n * FACTOR; }
long answer(long n) { return scaled(n); }
"""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    where = tmp_path_factory.mktemp("loaded")
    return own_case(where, f"#define FACTOR 10\n{SIMPLE}", f"#define FACTOR 20\n{SIMPLE}")


@pytest.fixture(scope="module")
def hotpatch(trees: Trees) -> VerifiedHotpatch:
    return build(trees)


# --- no processor time ------------------------------------------------------------------------


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """A millisecond of processor time in 900, which the spinning threads use up at once."""
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    old_style = (first / "tasks").exists()
    mount = first if old_style else second
    if not old_style:
        (mount / "cgroup.subtree_control").write_text("+cpu")
    group = mount / f"naht-test-{pid}"
    group.mkdir()
    try:
        if old_style:
            (group / "cpu.cfs_period_us").write_text("900000")
            (group / "cpu.cfs_quota_us").write_text("1000")
        else:
            (group / "cpu.max").write_text("1000 900000")
        (group / "cgroup.procs").write_text(str(pid))
        wait_until(lambda: throttled_times(group) > 0)
        yield
    finally:
        (mount / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def throttled_times(group: Path) -> int:
    rows = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(rows["nr_throttled"])


def test_a_throttled_group_is_waited_for(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with running(trees, NO_DRIVERS, workers=2, nap=0) as target:
        with throttled(target.pid):
            outcome = apply(hotpatch, target, retry=LONG_LOANS)
            assert_outcome(outcome, "applied")
        assert target.ask("call 1") == "20"
        target.assert_beating()
        target.assert_not_traced()
        revert_and_reclaim(target)
        assert target.quit() == 0


def test_a_throttled_group_is_not_waited_for_for_ever(
    trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    with running(trees, NO_DRIVERS, workers=2, nap=0) as target:
        before = Snapshot.of(target, trees.running_object)
        with throttled(target.pid):
            for _ in range(5):
                outcome = apply(hotpatch, target, retry=SHORT_LOANS)
                assert_outcome(outcome, "busy", "applied")
                assert (outcome.outcome == "applied") == is_active(target)
                if outcome.outcome == "applied":
                    assert_outcome(revert(target, retry=SHORT_LOANS), *ANY_END)
        assert_recovers(target, trees, hotpatch, before)


ANY_END = ("busy", "reverted", "reverted-memory-kept")


def is_active(target: Target) -> bool:
    return "active" in [h.state for h in hotpatches_in(target.pid)]


def assert_recovers(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch, before: Snapshot
) -> None:
    """Nothing of it is left but what the next visit clears away."""
    wait_until(lambda: not find_lent_threads(target.pid))
    assert target.ask("call 1") == ("20" if is_active(target) else "10")
    target.assert_beating()
    target.assert_not_traced()
    assert_outcome(apply(hotpatch, target), "applied", "already-applied")
    assert target.ask("call 1") == "20"
    revert_and_reclaim(target)
    assert target.ask("call 1") == "10"
    assert_as_before(before, target, trees.running_object)
    assert target.quit() == 0


@contextmanager
def hogs(core: int, count: int) -> Iterator[None]:
    """What computes on that core, and nowhere else, for as long as the block lasts."""
    spin = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    processes = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("retry", [SHORT_LOANS, PATIENT])
def test_the_nicest_of_all_beside_hogs_on_its_core(
    retry: RetryPolicy, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    core = min(os.sched_getaffinity(0))
    with running(trees, NO_DRIVERS, workers=2, nap=0) as target:
        before = Snapshot.of(target, trees.running_object)
        for thread in target.threads():
            os.sched_setaffinity(thread, {core})
            os.setpriority(os.PRIO_PROCESS, thread, 19)
        with hogs(core, 2):
            outcome = apply(hotpatch, target, retry=retry)
            assert_outcome(outcome, "applied", "busy")
            assert (outcome.outcome == "applied") == is_active(target)
        assert_recovers(target, trees, hotpatch, before)


# --- a thread that does not come back ----------------------------------------------------------

STUCK_HOOK = """\
#define _GNU_SOURCE
#include <naht.h>
#include <unistd.h>

/* Its caller waits, unstoppable, for the child's end (vfork(2)). */
static int stuck(void)
{
    if (!vfork()) {
        while (access(RELEASED, F_OK))
            usleep(1000);
        _exit(0);
    }
    return 0;
}
NAHT_PRE_APPLY(stuck);
"""


def test_a_hook_that_cannot_be_stopped(tmp_path: Path) -> None:
    released = tmp_path / "released"
    hook = f'#define RELEASED "{released}"\n{STUCK_HOOK}'
    trees = own_case(
        tmp_path / "case", f"#define FACTOR 10\n{SIMPLE}", f"{hook}#define FACTOR 20\n{SIMPLE}"
    )
    hotpatch = build(trees)
    with running(trees, NO_DRIVERS, workers=2) as target, ExitStack() as at_the_end:
        at_the_end.callback(released.touch)  # else the hook's child would outlive a failed test
        before = Snapshot.of(target, trees.running_object)
        outcome = apply(hotpatch, target)
        assert_outcome(outcome, "busy")
        assert "comes back by itself" in outcome.cause
        assert len(find_lent_threads(target.pid)) == 1
        # Its memory stays, because the hook is there.
        assert [h.state for h in hotpatches_in(target.pid)] == ["inactive"]
        again = apply(hotpatch, target, retry=SHORT_LOANS)
        assert (again.outcome, again.reason) == ("refused", "shared-address-space")
        target.assert_not_traced()
        released.touch()
        assert_recovers(target, trees, hotpatch, before)
