"""A hotpatch into a target and out of it: the calls that every live test makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from naht.domain.process import HotpatchInProcess, ProcessKey, ProcessOutcome
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.native.engine import NativeEngine
from tests.programs.building import ID, plain_name
from tests.programs.cases import Case
from tests.programs.target import Target

ENGINE = NativeEngine()
PATIENT = RetryPolicy(attempts=200, longest_wait_ns=50_000_000)


def key_of(target: Target) -> ProcessKey:
    return ProcessKey(target.pid, target.start_time())


def apply(
    hotpatch: VerifiedHotpatch,
    target: Target,
    *,
    retry: RetryPolicy = PATIENT,
    dry_run: bool = False,
) -> ProcessOutcome:
    return ENGINE.apply(hotpatch, key_of(target), retry=retry, dry_run=dry_run)


def revert(
    target: Target, *, hotpatch_id: str = ID, retry: RetryPolicy = PATIENT
) -> ProcessOutcome:
    return ENGINE.revert(hotpatch_id, key_of(target), retry=retry, dry_run=False)


def assert_outcome(outcome: ProcessOutcome, *wanted: str) -> None:
    assert outcome.outcome in wanted, f"{outcome.outcome} {outcome.reason}: {outcome.cause}"


def hotpatches_in(pid: int) -> tuple[HotpatchInProcess, ...]:
    (state,) = ENGINE.status([pid])
    assert not state.error
    return state.hotpatches


def assert_active(target: Target, case: Case, *ids: str) -> None:
    found = hotpatches_in(target.pid)
    assert {(h.id, h.state) for h in found} == {(i, "active") for i in ids or (ID,)}
    if len(found) == 1:
        assert {plain_name(name) for name in found[0].functions} == set(case.functions)


def revert_and_reclaim(target: Target) -> None:
    """Reverts; visits again, as the next command would, until the memory is given back."""
    assert_outcome(revert(target), "reverted", "reverted-memory-kept")
    for _ in range(200):
        if not hotpatches_in(target.pid):
            return
        target.ask("scrub")
        assert_outcome(revert(target), "reverted", "reverted-memory-kept", "not-applied")
    raise AssertionError(f"memory is never given back: {hotpatches_in(target.pid)}")


@dataclass(frozen=True)
class Snapshot:
    """What must be as before once a hotpatch is gone again."""

    code: bytes
    maps: list[str]

    @classmethod
    def of(cls, target: Target, path: Path) -> Snapshot:
        return cls(target.code_of(path), target.stable_maps())


def assert_as_before(before: Snapshot, target: Target, path: Path) -> None:
    now = Snapshot.of(target, path)
    assert now.code == before.code
    assert {"gone": set(before.maps) - set(now.maps), "new": set(now.maps) - set(before.maps)} == {
        "gone": set(),
        "new": set(),
    }
