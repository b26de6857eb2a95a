"""An engine that touches no process: it says for each PID what it was told to say. It stands in
where the command line must meet outcomes that real processes show too rarely to wait for; what the
real engine does is in tests/contract and tests/live.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from naht.domain.process import ProcessKey, ProcessOutcome, ProcessState, ScannedProcess
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import Progress, RetryPolicy


@dataclass
class ScriptedEngine:
    outcomes: Mapping[int, ProcessOutcome] = field(default_factory=dict)
    states: Sequence[ProcessState] = ()
    scanned: Sequence[ScannedProcess] = ()
    calls: list[tuple[str, int, bool, int]] = field(default_factory=list)

    def find(self, hotpatch: VerifiedHotpatch) -> Sequence[ProcessKey]:
        assert hotpatch.manifest.id
        return [outcome.key for outcome in self.outcomes.values()]

    def find_record(self, hotpatch_id: str) -> Sequence[ProcessKey]:
        return [o.key for o in self.outcomes.values() if o.hotpatch == hotpatch_id]

    def apply(
        self, hotpatch: VerifiedHotpatch, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome:
        self.calls.append((f"apply {hotpatch.manifest.id}", key.pid, dry_run, retry.attempts))
        return replace(self.outcomes[key.pid], key=key)

    def revert(
        self, hotpatch_id: str, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome:
        self.calls.append((f"revert {hotpatch_id}", key.pid, dry_run, retry.attempts))
        return replace(self.outcomes[key.pid], key=key)

    def status(self, pids: Iterable[int] | None) -> Sequence[ProcessState]:
        wanted = None if pids is None else set(pids)
        return [s for s in self.states if wanted is None or s.key.pid in wanted]

    def scan(
        self,
        hotpatch: VerifiedHotpatch | None,
        *,
        pids: Iterable[int] | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Sequence[ScannedProcess]:
        assert hotpatch is None or hotpatch.manifest.id
        wanted = None if pids is None else set(pids)
        return [p for p in self.scanned if wanted is None or p.key.pid in wanted]
