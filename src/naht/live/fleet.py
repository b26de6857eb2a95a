"""Carries one operation to many processes side by side, and reports each as it finishes.

Owns the bounded pool of threads and the search for processes that were born meanwhile. It never
abandons a process half way: once `stop` is set, what has begun is finished and the rest is left
alone. What the operation does, and whether it is allowed, is the engine's business.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from queue import Empty, SimpleQueue

from naht.domain.process import Outcome, ProcessKey, ProcessOutcome
from naht.errors import BusyError, NahtError, RefusedError, TargetGoneError

Operation = Callable[[ProcessKey], ProcessOutcome]
Search = Callable[[], Sequence[ProcessKey]]

MAX_PASSES = 5  # a process that forks faster than this is reported by the next `naht scan`
MAX_WORKERS = 64


def worker_count(processes: int) -> int:
    """Twice the cores, because a worker mostly waits for the kernel or for a quiet moment."""
    return max(1, min(processes, 2 * (os.cpu_count() or 1), MAX_WORKERS))


def run_everywhere(
    search: Search, operation: Operation, stop: threading.Event
) -> Iterator[ProcessOutcome]:
    """The outcome of each process that `search` finds, those born during the work included."""
    seen: set[ProcessKey] = set()
    for _ in range(MAX_PASSES):
        fresh = [key for key in search() if key not in seen]
        if not fresh or stop.is_set():
            return
        seen.update(fresh)
        yield from run_on(fresh, operation, stop)


def run_on(
    keys: Sequence[ProcessKey], operation: Operation, stop: threading.Event
) -> Generator[ProcessOutcome]:
    """The outcome of each process in the order in which they finish; ends early after `stop`."""
    waiting: SimpleQueue[ProcessKey] = SimpleQueue()
    finished: SimpleQueue[ProcessOutcome | None] = SimpleQueue()
    for key in keys:
        waiting.put(key)
    workers = [
        threading.Thread(target=_work, args=(waiting, finished, stop, operation), name=f"naht-{n}")
        for n in range(worker_count(len(keys)))
    ]
    try:
        for worker in workers:
            worker.start()
        yield from _until_all_left(finished, len(workers))
    except BaseException:  # the caller no longer listens: begin nothing more
        stop.set()
        raise
    finally:
        for worker in workers:
            if worker.ident is not None:
                worker.join()


def _until_all_left(
    finished: SimpleQueue[ProcessOutcome | None], workers: int
) -> Iterator[ProcessOutcome]:
    while workers:
        outcome = finished.get()
        if outcome is None:
            workers -= 1
        else:
            yield outcome


def _work(
    waiting: SimpleQueue[ProcessKey],
    finished: SimpleQueue[ProcessOutcome | None],
    stop: threading.Event,
    operation: Operation,
) -> None:
    """Puts an outcome for each process it took, then None."""
    while not stop.is_set():
        try:
            # Every key was in the queue before the workers started: empty means done.
            key = waiting.get_nowait()
        except Empty:
            break
        finished.put(_guarded(operation, key))
    finished.put(None)


def _guarded(operation: Operation, key: ProcessKey) -> ProcessOutcome:
    """One process's trouble must not hide the outcome of the others."""
    try:
        return operation(key)
    except NahtError as error:
        return failed_outcome(key, error)
    except Exception as error:  # noqa: BLE001  (a bug of ours; it is reported as one)
        cause = f"naht failed unexpectedly: {type(error).__name__}: {error}"
        next_step = "Run `naht status` on the process, then report this with the text above."
        return ProcessOutcome(key, "", "", "failed", "internal-error", cause, next_step)


def failed_outcome(key: ProcessKey, error: NahtError, hotpatch: str = "") -> ProcessOutcome:
    """The outcome of an operation that ended with an error of ours."""
    reason = error.reason if isinstance(error, RefusedError) else ""
    return ProcessOutcome(
        key, "", hotpatch, _outcome_of(error), reason, error.cause, error.next_step
    )  # fmt: skip


def _outcome_of(error: NahtError) -> Outcome:
    if isinstance(error, TargetGoneError):
        return "gone"
    if isinstance(error, BusyError):
        return "busy"
    return "refused" if isinstance(error, RefusedError) else "failed"
