"""Brings what runs to what is installed: survey, apply the chosen hotpatches, survey again.

Owns the passes, because processes are born meanwhile from ones that were not healed yet. It never
restarts anything, tries no process twice with one hotpatch, and leaves the rest alone once `stop`
is set. What is chosen is `judgement`'s business, and whether it is safe is the engine's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from naht.domain.host import Finding
from naht.domain.process import GOOD_OUTCOMES, ProcessKey, ProcessOutcome
from naht.errors import NahtError
from naht.hotpatch.library import Listed
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import Engine, RetryPolicy
from naht.live.fleet import MAX_PASSES, failed_outcome, run_on
from naht.live.host.survey import Survey, Surveyor
from naht.live.host.trial import Tried, with_outcomes

Load = Callable[[Listed], VerifiedHotpatch]
Wanted = Callable[[Finding], bool]
Task = tuple[str, ProcessKey]  # the digest of a hotpatch, and a process


class Healer:
    def __init__(
        self, surveyor: Surveyor, load: Load, wanted: Wanted, retry: RetryPolicy, *, dry_run: bool
    ) -> None:
        self._surveyor = surveyor
        self._load = load
        self._wanted = wanted
        self._retry = retry
        self._dry_run = dry_run
        self._tried: Tried = {}
        self._begun: set[Task] = set()
        self.survey = Survey((), ())  # the latest

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the latest survey, knowing what came of the hotpatches."""
        return tuple(f for f in with_outcomes(self.survey.findings, self._tried) if self._wanted(f))

    def has_told(self, finding: Finding) -> bool:
        """Whether an outcome speaks for it: one that is not good, or any of a dry run."""
        outcome = self._tried.get((finding.digest, finding.key))
        return outcome is not None and (self._dry_run or outcome.outcome not in GOOD_OUTCOMES)

    def run(self, first: Survey, stop: threading.Event) -> Iterator[ProcessOutcome]:
        """An outcome for each process and hotpatch, as they finish."""
        self.survey = first
        for _ in range(MAX_PASSES):
            tasks = self._fresh_tasks()
            if not tasks or stop.is_set():
                return
            yield from self._carry_out(tasks, stop)
            if self._dry_run:
                return
            self.survey = self._surveyor.survey()

    def _fresh_tasks(self) -> list[Task]:
        """Grouped by hotpatch; the eldest process first: fewer are born from unhealed ones."""
        tasks = {
            (f.digest, f.key)
            for f in self.survey.findings
            if f.remedy == "hotpatch" and self._wanted(f)
        }
        fresh = tasks - self._begun
        self._begun |= fresh
        return sorted(fresh, key=lambda task: (task[0], task[1].start_time, task[1].pid))

    def _carry_out(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[ProcessOutcome]:
        for digest, group in groupby(tasks, key=lambda task: task[0]):
            keys = [key for _, key in group]
            listed = self._surveyor.listed(digest)
            try:
                operation = self._operation(self._surveyor.engine, self._load(listed))
            except NahtError as error:
                name = listed.manifest.id
                yield from (failed_outcome(key, error, name) for key in keys)
                continue
            for outcome in run_on(keys, operation, stop):
                self._tried[digest, outcome.key] = outcome
                yield outcome

    def _operation(
        self, engine: Engine, hotpatch: VerifiedHotpatch
    ) -> Callable[[ProcessKey], ProcessOutcome]:
        return partial(engine.apply, hotpatch, retry=self._retry, dry_run=self._dry_run)
