"""What every engine offers. Rules above this layer speak to this protocol, never to an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from naht.domain.process import ProcessKey, ProcessOutcome, ProcessState, ScannedProcess
from naht.hotpatch.verified import VerifiedHotpatch

Progress = Callable[[int, int], None]
"""Told how many of how many processes are done."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often to look for a quiet moment, and how long to wait between looks (doubling).

    `longest_loan_ns`: how long one thread may be lent in one go. Only a thread that the host does
    not let run can be away for so long: of its own time it gets a second at most.
    """

    attempts: int = 12
    first_wait_ns: int = 2_000_000
    longest_wait_ns: int = 250_000_000
    stop_timeout_ns: int = 200_000_000
    longest_loan_ns: int = 10_000_000_000


class Engine(Protocol):
    def find(self, hotpatch: VerifiedHotpatch) -> Sequence[ProcessKey]:
        """The live processes that have the hotpatch's target mapped, by build-id."""

    def find_record(self, hotpatch_id: str) -> Sequence[ProcessKey]:
        """The live processes whose memory holds a record of that hotpatch."""

    def apply(
        self, hotpatch: VerifiedHotpatch, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome: ...

    def revert(
        self, hotpatch_id: str, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome: ...

    def status(self, pids: Iterable[int] | None) -> Sequence[ProcessState]:
        """What is in memory; all processes that hold a record when `pids` is None."""

    def scan(
        self,
        hotpatch: VerifiedHotpatch | None,
        *,
        pids: Iterable[int] | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Sequence[ScannedProcess]:
        """What runs, against what is on disk; all processes when `pids` is None."""
