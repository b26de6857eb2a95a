"""What the clients of daemons have in common: their words on the command line, the load, the count.

A client says what one connection is and what one question on it is; this module asks from several
threads at once, on connections that are kept, until SIGTERM. Every answer is checked by the client:
whatever it raises is an error, and errors are never hidden. SIGUSR1 prints the count so far.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

Ask = Callable[[int], None]  # one question; the number makes it unlike all others
Connect = Callable[[], Ask]

PAUSE = 0.004  # between two questions of one connection
PAUSE_AFTER_ERROR = 0.1
PATIENCE = 5.0  # no answer within this is an error


class WrongAnswerError(Exception):
    """The daemon answered, but not what it has to."""


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise WrongAnswerError(f"{what}: {found!r} instead of {wanted!r}")


@dataclass
class Count:
    requests: int = 0
    errors: int = 0
    connections: int = 0  # opened since the start; those that are kept are opened once
    worst: float = 0.0
    reasons: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def opened(self) -> None:
        with self.lock:
            self.connections += 1

    def answered(self, seconds: float) -> None:
        with self.lock:
            self.requests += 1
            self.worst = max(self.worst, seconds)

    def failed(self, error: Exception) -> None:
        with self.lock:
            self.errors += 1
            if len(self.reasons) < 5:
                self.reasons.append(f"{type(error).__name__}: {error}"[:200])

    def as_line(self) -> str:
        """The worst wait is since the line before."""
        with self.lock:
            line = {
                "requests": self.requests,
                "errors": self.errors,
                "worst_ms": round(self.worst * 1000, 3),
                "connections": self.connections,
                "reasons": self.reasons,
            }
            self.worst = 0.0
        return json.dumps(line)


def serve_words(
    ready: Callable[[], None],
    connections: Sequence[Connect],
    proofs: Mapping[str, Callable[[], str]],
    behind: Callable[[], None] = lambda: None,
) -> NoReturn:
    """`ready`, `load`, or `prove NAME`, as the corpus harness says them. `behind`: starts what the
    load needs behind the daemon."""
    # Threads inherit this: signals are only ever taken in `load`, and never lost before it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        if sys.argv[1:] == ["load"]:
            behind()
        _obey(sys.argv[1:], ready, connections, proofs)
    except Exception as error:  # noqa: BLE001  one line for the harness, of whatever it is
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # origin servers of a client have threads that never end


def _obey(
    words: Sequence[str],
    ready: Callable[[], None],
    connections: Sequence[Connect],
    proofs: Mapping[str, Callable[[], str]],
) -> None:
    match list(words):
        case ["ready"]:
            ready()
        case ["load"]:
            load(connections)
        case ["prove", name] if name in proofs:
            print(proofs[name](), flush=True)
        case _:
            raise ValueError(f"ready, load or prove ({', '.join(proofs)}), not {words}")


def load(connections: Sequence[Connect]) -> None:
    count, ended = Count(), threading.Event()
    threads = [
        threading.Thread(target=_ask_for_ever, args=(connect, count, ended, number), daemon=True)
        for number, connect in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    while signal.sigwait({signal.SIGTERM, signal.SIGUSR1}) == signal.SIGUSR1:
        print(count.as_line(), flush=True)
    ended.set()
    for thread in threads:
        thread.join(PATIENCE * 2)
    print(count.as_line(), flush=True)


def _ask_for_ever(connect: Connect, count: Count, ended: threading.Event, number: int) -> None:
    """After an error on a new connection, so that what follows is seen, too."""
    asked = number * 1_000_000
    while not ended.is_set():
        try:
            ask = connect()
            count.opened()
            while not ended.is_set():
                asked += 1
                began = time.perf_counter()
                ask(asked)
                count.answered(time.perf_counter() - began)
                ended.wait(PAUSE)
        except Exception as error:  # noqa: BLE001  whatever it is, it counts
            count.failed(error)
            ended.wait(PAUSE_AFTER_ERROR)
