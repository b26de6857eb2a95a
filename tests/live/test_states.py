"""The states in which a process can be found: each has one outcome, and none is ever harmed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from naht.domain.process import ProcessKey
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.native.procfs import list_pids
from tests.programs import cases
from tests.programs.building import build
from tests.programs.cases import Trees, case_named, prepare
from tests.programs.patching import (
    ENGINE,
    PATIENT,
    Snapshot,
    apply,
    assert_active,
    assert_as_before,
    assert_outcome,
    hotpatches_in,
    revert,
    revert_and_reclaim,
)
from tests.programs.target import Target, assert_behaves, running, start_time

pytestmark = [pytest.mark.live, pytest.mark.compiler]

T = TypeVar("T")

TRACER = Path(cases.__file__).with_name("tracer.py")
NO_DRIVERS = Path("unused")  # an executable brings its own
ONE_LOOK = RetryPolicy(attempts=2, stop_timeout_ns=50_000_000)
SHORT_MS, LONG_MS = 300, 5_000


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return prepare(case_named("process-states"), tmp_path_factory.mktemp("states") / "trees")


@pytest.fixture(scope="module")
def hotpatch(trees: Trees) -> VerifiedHotpatch:
    return build(trees)


@pytest.fixture
def target(trees: Trees) -> Iterator[Target]:
    with running(trees, NO_DRIVERS) as target:
        assert_behaves(target, trees.case, "old")
        yield target


def assert_applies_and_reverts(target: Target, trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    outcome = apply(hotpatch, target)
    assert_outcome(outcome, "applied")
    assert_behaves(target, trees.case, "new")
    assert_active(target, trees.case)
    target.assert_beating()
    target.assert_not_traced()
    revert_and_reclaim(target)
    assert_behaves(target, trees.case, "old")


def assert_refused_untouched(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch, reason: str
) -> None:
    before = Snapshot.of(target, trees.running_object)
    outcome = apply(hotpatch, target, retry=ONE_LOOK)
    assert (outcome.outcome, outcome.reason) == ("refused", reason), outcome
    assert outcome.cause and outcome.next_step
    assert_as_before(before, target, trees.running_object)
    assert hotpatches_in(target.pid) == ()


# --- what the process did to itself -----------------------------------------------------------


@pytest.mark.parametrize("command", ["seccomp allow", "mdwe", "undumpable", "drop privileges"])
def test_process_that_restricts_itself_is_patched(
    command: str, target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask(command) == "ok"
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


def test_process_whose_first_thread_ended_is_refused(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask("end main thread") == "ok"
    eventually(lambda: state_of(target.pid) == "Z")
    outcome = apply(hotpatch, target)
    assert (outcome.outcome, outcome.reason) == ("refused", "leader-exited")
    assert_behaves(target, trees.case, "old")
    target.assert_beating()
    assert target.quit() == 0


def test_seccomp_strict_is_refused(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with running(trees, NO_DRIVERS, workers=0) as target:
        assert_behaves(target, trees.case, "old")  # stdio has its buffers now
        assert target.ask("seccomp strict") == "ok"
        assert_refused_untouched(target, trees, hotpatch, "seccomp-strict")
        assert_behaves(target, trees.case, "old")


def test_one_strict_thread_among_others_is_left_in_peace(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask("seccomp strict") == "ok"  # the main thread only
    assert_applies_and_reverts(target, trees, hotpatch)


@pytest.mark.parametrize("action", ["errno", "kill"])
def test_seccomp_filter_without_mmap_is_refused(
    action: str, target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask(f"seccomp {action}") == "ok"
    assert_refused_untouched(target, trees, hotpatch, "seccomp-filter")
    target.assert_beating()
    assert target.quit() == 0


def test_limited_address_space_is_refused(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask("limit address space") == "ok"
    assert_refused_untouched(target, trees, hotpatch, "address-space-limit")
    target.assert_beating()
    assert target.quit() == 0


def test_shared_memory_with_another_process_is_refused_until_that_is_gone(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask("share memory") == "ok"
    assert_refused_untouched(target, trees, hotpatch, "shared-address-space")
    assert target.ask("end sibling") == "ok"
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


def test_vfork_child_is_waited_for(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask(f"vfork {LONG_MS}") == "ok"
    wait_for_child(target.pid)
    before = Snapshot.of(target, trees.running_object)
    outcome = apply(hotpatch, target, retry=ONE_LOOK)
    assert_outcome(outcome, "busy", "refused")
    assert str(wait_for_child(target.pid)) in outcome.cause
    assert_as_before(before, target, trees.running_object)

    os.kill(wait_for_child(target.pid), signal.SIGKILL)
    eventually(lambda: not children_of(target.pid))
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


def wait_for_child(pid: int) -> int:
    eventually(lambda: bool(children_of(pid)))
    return children_of(pid)[0]


def children_of(pid: int) -> list[int]:
    return [child for child in list_pids() if parent_of(child) == pid]


def start_of_stack(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[25])


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0  # gone meanwhile


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.002)


@pytest.mark.parametrize("storm", ["thread storm", "fork storm"])
def test_births_and_deaths_meanwhile(
    storm: str, target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    assert target.ask(storm) == "ok"
    for _ in range(5):
        outcome = apply(hotpatch, target)
        assert_outcome(outcome, "applied")
        assert_behaves(target, trees.case, "new")
        revert_and_reclaim(target)
        assert_behaves(target, trees.case, "old")
    target.assert_beating()
    target.assert_not_traced()
    assert target.quit() == 0


# --- what others did to the process -----------------------------------------------------------


def test_traced_process_is_refused(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    with traced(target.pid) as tracer:
        assert_refused_untouched(target, trees, hotpatch, "traced")
        assert str(tracer) in apply(hotpatch, target).cause
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


def test_one_traced_thread_is_refused(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    worker = max(set(target.threads()) - {target.pid})
    before = Snapshot.of(target, trees.running_object)
    with traced(worker):
        assert_outcome(apply(hotpatch, target, retry=ONE_LOOK), "refused")
        assert_behaves(target, trees.case, "old")
        assert_as_before(before, target, trees.running_object)
        assert hotpatches_in(target.pid) == ()
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


@contextmanager
def traced(thread: int) -> Iterator[int]:
    command = [sys.executable, str(TRACER), str(thread)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdin and tracer.stdout
        assert tracer.stdout.readline() == b"attached\n"
        yield tracer.pid
        tracer.stdin.close()
        tracer.wait()


def test_stopped_process_is_patched_and_stays_stopped(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    os.kill(target.pid, signal.SIGSTOP)
    eventually(lambda: state_of(target.pid) == "T")
    assert_outcome(apply(hotpatch, target), "applied")
    assert_all_stopped(target)
    os.kill(target.pid, signal.SIGCONT)
    assert_behaves(target, trees.case, "new")

    os.kill(target.pid, signal.SIGSTOP)
    eventually(lambda: state_of(target.pid) == "T")
    assert_outcome(revert(target), "reverted", "reverted-memory-kept")
    assert_all_stopped(target)
    os.kill(target.pid, signal.SIGCONT)
    assert_behaves(target, trees.case, "old")
    target.assert_beating()
    assert target.quit() == 0


def assert_all_stopped(target: Target) -> None:
    """A thread that a tracer let go passes through the kernel once before it stops again."""
    eventually(lambda: {state_of(thread) for thread in target.threads()} == {"T"})


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_frozen_process_is_refused_until_it_is_thawed(
    target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    with frozen(target.pid):
        assert_refused_untouched(target, trees, hotpatch, "frozen")
    assert_applies_and_reverts(target, trees, hotpatch)
    assert target.quit() == 0


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Puts the process into a frozen control group of its own, of whichever version there is."""
    old, new = Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup")
    old_style = (old / "tasks").exists()
    group = (old if old_style else new) / f"naht-test-{pid}"
    switch, on, off = (
        (group / "freezer.state", "FROZEN", "THAWED") if old_style
        else (group / "cgroup.freeze", "1", "0")
    )  # fmt: skip
    home = cgroup_of(pid, old if old_style else new, "freezer" if old_style else "")
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        switch.write_text(on)
        eventually(lambda: is_frozen(group))
        yield
    finally:
        switch.write_text(off)
        (home / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def cgroup_of(pid: int, mount: Path, controller: str) -> Path:
    lines = [row.split(":", 2) for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return mount / next(path for _, names, path in lines if names == controller).lstrip("/")


def is_frozen(group: Path) -> bool:
    if (group / "freezer.state").exists():
        return (group / "freezer.state").read_text() == "FROZEN\n"
    return "frozen 1" in (group / "cgroup.events").read_text()


def test_zombie_is_refused(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with running(trees, NO_DRIVERS) as target:
        os.kill(target.pid, signal.SIGKILL)
        eventually(lambda: state_of(target.pid) == "Z")
        outcome = apply(hotpatch, target)
        assert_outcome(outcome, "refused", "gone")
        assert state_of(target.pid) == "Z"


def test_process_that_is_gone_and_pid_of_another(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with running(trees, NO_DRIVERS) as target:
        late = ProcessKey(target.pid, target.start_time() + 1)
        outcome = ENGINE.apply(hotpatch, late, retry=PATIENT, dry_run=False)
        assert_outcome(outcome, "gone")
        assert_behaves(target, trees.case, "old")
        key = ProcessKey(target.pid, target.start_time())
        assert target.quit() == 0
    assert ENGINE.apply(hotpatch, key, retry=PATIENT, dry_run=False).outcome == "gone"


def test_object_deleted_and_replaced_on_disk(
    trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(trees.running_object, home / "target")
    with running(trees, NO_DRIVERS, tree=home) as target:
        (home / "target").unlink()
        assert_applies_and_reverts(target, trees, hotpatch)
        shutil.copy(trees.built_new / "target", home / "target")
        assert_applies_and_reverts(target, trees, hotpatch)
        assert target.quit() == 0


def test_other_mount_and_pid_namespace(
    trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path
) -> None:
    """The program's file is on a file system that only its own namespace sees."""
    inside = (
        'mount -t tmpfs none "$1" && cp "$2" "$1/target" && mount -t proc none /proc '
        '&& exec "$1/target" 2'
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside, "sh"]
    outer = Target.start([*command, str(tmp_path), str(trees.running_object)])
    try:
        assert outer.ask("call 4") == "40"
        assert not (tmp_path / "target").exists()
        (pid,) = children_of(outer.pid)
        key = ProcessKey(pid, start_time(pid))
        assert key in ENGINE.find(hotpatch)
        outcome = ENGINE.apply(hotpatch, key, retry=PATIENT, dry_run=False)
        assert_outcome(outcome, "applied")
        assert outer.ask("call -4") == "0"
        assert [h.state for h in hotpatches_in(pid)] == ["active"]
        outcome = ENGINE.revert("naht-test-1", key, retry=PATIENT, dry_run=False)
        assert outcome.outcome in {"reverted", "reverted-memory-kept"}
        assert outer.ask("call -4") == "-40"
        assert outer.quit() == 0
    finally:
        outer.end()


# --- what happens at the same time --------------------------------------------------------------


@pytest.mark.parametrize("delay_us", [0, 500, 2_000, 5_000, 10_000, 20_000])
def test_exec_meanwhile(
    delay_us: int, target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    key = ProcessKey(target.pid, target.start_time())
    stack = start_of_stack(target.pid)
    outcomes = at_the_same_time(
        lambda: target.send("exec"),
        lambda: ENGINE.apply(hotpatch, key, retry=PATIENT, dry_run=False).outcome,
        delay_us,
    )
    assert outcomes in {"applied", "gone", "busy", "refused", "failed"}
    # A question that comes too early is lost in the old program's input buffer.
    eventually(lambda: start_of_stack(target.pid) != stack)
    reply = target.ask("call -4")
    active = [h.state for h in hotpatches_in(target.pid)] == ["active"]
    assert reply == ("0" if active else "-40")
    target.assert_beating()
    target.assert_not_traced()
    assert_outcome(apply(hotpatch, target), "applied", "already-applied")
    assert_behaves(target, trees.case, "new")
    assert target.quit() == 0


@pytest.mark.parametrize("delay_us", [0, 500, 2_000, 5_000, 10_000, 20_000])
def test_exit_meanwhile(
    delay_us: int, target: Target, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    key = ProcessKey(target.pid, target.start_time())
    outcome = at_the_same_time(
        lambda: target.send("quit"),
        lambda: ENGINE.apply(hotpatch, key, retry=PATIENT, dry_run=False),
        delay_us,
    )
    assert_outcome(outcome, "applied", "gone", "refused")
    assert target.wait() == 0


def at_the_same_time(one: Callable[[], None], other: Callable[[], T], delay_us: int) -> T:
    def later() -> None:
        time.sleep(delay_us / 1e6)
        one()

    thread = threading.Thread(target=later)
    thread.start()
    try:
        return other()
    finally:
        thread.join()
