"""What every engine promises (`naht.live.engine.Engine`), asked of each one on real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from naht.domain.process import ProcessKey
from naht.elf.file import ElfFile
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from naht.live.engine import Engine, RetryPolicy
from naht.live.native.engine import NativeEngine
from tests.builders.door import HOTPATCH_ID, Door, build_fix, make_door, running_door

pytestmark = [pytest.mark.live, pytest.mark.compiler]

RETRY = RetryPolicy(attempts=40)


@pytest.fixture(params=[NativeEngine])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_door(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def hotpatch(shipped: Path) -> VerifiedHotpatch:
    return accept_unsigned(read_hotpatch(build_fix(shipped.parent, shipped)))


@pytest.fixture
def door(shipped: Path) -> Iterator[Door]:
    with running_door(shipped) as door:
        assert [door.ask("sesame"), door.ask("s"), door.ask("x")] == [
            "welcome",
            "welcome",
            "go away",
        ]
        yield door


def key_of(door: Door, engine: Engine, hotpatch: VerifiedHotpatch) -> ProcessKey:
    (key,) = [key for key in engine.find(hotpatch) if key.pid == door.pid]
    return key


def memory_map(door: Door) -> list[str]:
    """Without what grows by itself."""
    lines = Path(f"/proc/{door.pid}/maps").read_text().splitlines()
    return [line.split()[0] + line.split()[1] for line in lines if "[heap]" not in line]


def code_of(door: Door) -> bytes:
    for line in Path(f"/proc/{door.pid}/maps").read_text().splitlines():
        if "libdoor.so.1" in line and " r-xp " in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            descriptor = os.open(f"/proc/{door.pid}/mem", os.O_RDONLY)
            try:
                return os.pread(descriptor, end - start, start)
            finally:
                os.close(descriptor)
    raise AssertionError("libdoor.so.1 is not mapped")


def test_find_names_the_processes_that_have_the_object(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    pids = [key.pid for key in engine.find(hotpatch)]
    assert door.pid in pids
    assert os.getpid() not in pids


def test_a_dry_run_touches_nothing(engine: Engine, hotpatch: VerifiedHotpatch, door: Door) -> None:
    key = key_of(door, engine, hotpatch)
    before = memory_map(door), code_of(door)
    outcome = engine.apply(hotpatch, key, retry=RETRY, dry_run=True)
    assert outcome.outcome == "would-apply"
    assert (memory_map(door), code_of(door)) == before
    assert door.ask("s") == "welcome"


def test_apply_closes_the_hole_on_the_same_connection_and_says_so(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    key = key_of(door, engine, hotpatch)
    outcome = engine.apply(hotpatch, key, retry=RETRY, dry_run=False)
    assert (outcome.outcome, outcome.key, outcome.hotpatch) == ("applied", key, HOTPATCH_ID)
    assert (outcome.functions, outcome.cause, outcome.next_step) == (1, "", "")
    assert outcome.threads >= 2
    assert outcome.pause_ns > 0
    assert [door.ask("sesame"), door.ask("s")] == ["welcome", "go away"]


def test_apply_again_is_no_work(engine: Engine, hotpatch: VerifiedHotpatch, door: Door) -> None:
    key = key_of(door, engine, hotpatch)
    engine.apply(hotpatch, key, retry=RETRY, dry_run=False)
    before = memory_map(door)
    again = engine.apply(hotpatch, key, retry=RETRY, dry_run=False)
    assert (again.outcome, memory_map(door)) == ("already-applied", before)


def test_the_process_itself_tells_its_state(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    key = key_of(door, engine, hotpatch)
    assert [s.hotpatches for s in engine.status([door.pid])] == [()]
    engine.apply(hotpatch, key, retry=RETRY, dry_run=False)
    stranger = NativeEngine()  # knows nothing of what was done
    (state,) = stranger.status([door.pid])
    (found,) = state.hotpatches
    assert (found.id, found.state, found.digest) == (HOTPATCH_ID, "active", hotpatch.digest)
    assert found.functions == ("door_opens",)
    assert key in stranger.find_record(HOTPATCH_ID)
    assert key not in stranger.find_record("ANOTHER")
    assert door.pid in [s.key.pid for s in stranger.status(None)]


def test_scan_tells_what_fits_and_what_is_applied(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door, shipped: Path
) -> None:
    engine.apply(hotpatch, key_of(door, engine, hotpatch), retry=RETRY, dry_run=False)
    (process,) = [p for p in engine.scan(hotpatch) if p.key.pid == door.pid]
    (fitting,) = [o for o in process.objects if o.fits]
    assert fitting.object.build_id == ElfFile((shipped / "libdoor.so.1").read_bytes()).build_id
    assert (fitting.stale, fitting.applied) == (False, (HOTPATCH_ID,))
    assert not [o for o in process.objects if o.applied and not o.fits]


def test_revert_opens_the_hole_again_and_leaves_nothing(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    key = key_of(door, engine, hotpatch)
    before = memory_map(door), code_of(door)
    engine.apply(hotpatch, key, retry=RETRY, dry_run=False)
    assert code_of(door) != before[1]
    planned = engine.revert(HOTPATCH_ID, key, retry=RETRY, dry_run=True)
    assert (planned.outcome, door.ask("s")) == ("would-revert", "go away")
    outcome = engine.revert(HOTPATCH_ID, key, retry=RETRY, dry_run=False)
    assert outcome.outcome in {"reverted", "reverted-memory-kept"}
    assert door.ask("s") == "welcome"
    while outcome.outcome == "reverted-memory-kept":  # reclaimed on a later visit
        outcome = engine.revert(HOTPATCH_ID, key, retry=RETRY, dry_run=False)
    assert engine.revert(HOTPATCH_ID, key, retry=RETRY, dry_run=False).outcome == "not-applied"
    assert key not in engine.find_record(HOTPATCH_ID)
    assert (memory_map(door), code_of(door)) == before


def test_nothing_traces_the_process_afterwards(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    engine.apply(hotpatch, key_of(door, engine, hotpatch), retry=RETRY, dry_run=False)
    status = Path(f"/proc/{door.pid}/status").read_text()
    assert "TracerPid:\t0\n" in status


def test_another_object_is_refused_with_cause_and_way_out(
    engine: Engine, hotpatch: VerifiedHotpatch
) -> None:
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    outcome = engine.apply(
        hotpatch, ProcessKey(os.getpid(), start), retry=RETRY, dry_run=True
    )  # fmt: skip
    assert outcome.outcome == "refused"
    assert outcome.reason
    assert outcome.cause
    assert outcome.next_step


def test_a_process_that_took_the_pid_is_not_touched(
    engine: Engine, hotpatch: VerifiedHotpatch, door: Door
) -> None:
    key = key_of(door, engine, hotpatch)
    earlier = ProcessKey(key.pid, key.start_time - 1)
    assert engine.apply(hotpatch, earlier, retry=RETRY, dry_run=False).outcome == "gone"
    assert engine.revert(HOTPATCH_ID, earlier, retry=RETRY, dry_run=False).outcome == "gone"
    assert door.ask("s") == "welcome"
