"""Many processes side by side: each is reported once, trouble stays with its process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from naht.domain.process import ProcessKey, ProcessOutcome
from naht.errors import BusyError, HostileInputError, NahtError, TargetGoneError, TargetRefusedError
from naht.live.fleet import MAX_WORKERS, run_everywhere, run_on, worker_count

KEYS = [ProcessKey(pid, 1) for pid in range(1, 41)]


def applied(key: ProcessKey) -> ProcessOutcome:
    return ProcessOutcome(key, "x", "H", "applied")


def raising(error: Exception) -> Callable[[ProcessKey], ProcessOutcome]:
    def operation(key: ProcessKey) -> ProcessOutcome:
        if key.pid % 2:
            raise error
        return applied(key)

    return operation


def test_every_process_is_reported_once() -> None:
    found = list(run_on(KEYS, applied, threading.Event()))
    assert sorted(o.key.pid for o in found) == [key.pid for key in KEYS]


def test_no_processes_is_no_work() -> None:
    assert list(run_on([], applied, threading.Event())) == []


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (BusyError("c", "n"), "busy", ""),
        (TargetGoneError("c", "n"), "gone", ""),
        (TargetRefusedError("seccomp-strict", "c", "n"), "refused", "seccomp-strict"),
        (HostileInputError("c", "n"), "failed", ""),
        (ZeroDivisionError("oops"), "failed", "internal-error"),
    ],
)
def test_one_process_s_trouble_is_its_own(error: Exception, outcome: str, reason: str) -> None:
    found = list(run_on(KEYS, raising(error), threading.Event()))
    assert sum(o.outcome == "applied" for o in found) == 20
    troubled = [o for o in found if o.outcome != "applied"]
    assert {(o.outcome, o.reason) for o in troubled} == {(outcome, reason)}
    if isinstance(error, NahtError):
        assert {(o.cause, o.next_step) for o in troubled} == {("c", "n")}


def test_processes_work_side_by_side() -> None:
    """Two must be inside the operation at once, else the barrier never opens and breaks."""
    barrier = threading.Barrier(2)

    def meet(key: ProcessKey) -> ProcessOutcome:
        barrier.wait(timeout=30)
        return applied(key)

    assert {o.outcome for o in run_on(KEYS[:2], meet, threading.Event())} == {"applied"}


def test_after_stop_nothing_begins_and_what_began_is_reported() -> None:
    stop = threading.Event()
    begun = []

    def stop_at_once(key: ProcessKey) -> ProcessOutcome:
        begun.append(key)
        stop.set()
        return applied(key)

    found = list(run_on(KEYS, stop_at_once, stop))
    assert [o.key for o in found if o.key in begun] == [o.key for o in found]
    assert len(found) == len(begun) <= worker_count(len(KEYS))


def test_a_caller_who_leaves_stops_the_rest() -> None:
    stop = threading.Event()
    outcomes = run_on(KEYS, applied, stop)
    next(outcomes)
    outcomes.close()
    assert stop.is_set()
    assert not [t for t in threading.enumerate() if t.name.startswith("naht-")]


def test_processes_born_meanwhile_are_visited() -> None:
    found: list[list[ProcessKey]] = [KEYS[:2], KEYS[:4], KEYS[1:4]]
    searches = iter(found)
    seen = [o.key.pid for o in run_everywhere(lambda: next(searches), applied, threading.Event())]
    assert sorted(seen) == [1, 2, 3, 4]


def test_a_process_that_forks_for_ever_does_not_hold_us_for_ever() -> None:
    numbers = iter(range(1, 1000))
    seen = list(
        run_everywhere(lambda: [ProcessKey(next(numbers), 1)], applied, threading.Event())
    )  # fmt: skip
    assert 1 < len(seen) < 10


def test_the_number_of_workers_is_bounded() -> None:
    assert worker_count(0) == 1
    assert worker_count(10**6) <= MAX_WORKERS
