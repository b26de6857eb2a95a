"""Tries, without writing anything, whether the hotpatches that a survey chose could be applied.

It asks the engine for a dry run in each process, and turns a refusal into the finding's reason:
such a process needs a restart after all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from msgspec.structs import replace

from naht.domain.host import Finding
from naht.domain.process import GOOD_OUTCOMES, ProcessKey, ProcessOutcome
from naht.errors import NahtError
from naht.hotpatch.library import Listed
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.fleet import failed_outcome, run_on
from naht.live.host.survey import Surveyor

Tried = dict[tuple[str, ProcessKey], ProcessOutcome]


def try_hotpatches(
    surveyor: Surveyor, findings: Sequence[Finding], load: Callable[[Listed], VerifiedHotpatch]
) -> tuple[Finding, ...]:
    """The findings as they are after that; those of processes that ended are left out."""
    tasks = sorted(
        {(f.digest, f.key) for f in findings if f.remedy == "hotpatch"},
        key=lambda task: (task[0], task[1].pid),
    )
    tried: Tried = {}
    for digest, group in groupby(tasks, key=lambda task: task[0]):
        listed = surveyor.listed(digest)
        for outcome in _try(surveyor, listed, [key for _, key in group], load):
            tried[digest, outcome.key] = outcome
    return with_outcomes(findings, tried)


def _try(
    surveyor: Surveyor, listed: Listed, keys: list[ProcessKey],
    load: Callable[[Listed], VerifiedHotpatch],
) -> list[ProcessOutcome]:  # fmt: skip
    try:
        hotpatch = load(listed)
    except NahtError as error:
        return [failed_outcome(key, error, listed.manifest.id) for key in keys]
    operation = partial(surveyor.engine.apply, hotpatch, retry=RetryPolicy(), dry_run=True)
    return list(run_on(keys, operation, threading.Event()))


def with_outcomes(findings: Sequence[Finding], tried: Tried) -> tuple[Finding, ...]:
    """The findings as they are, knowing what came of the hotpatches that were chosen."""
    judged = (_judged(finding, tried.get((finding.digest, finding.key))) for finding in findings)
    return tuple(finding for finding in judged if finding)


def _judged(finding: Finding, outcome: ProcessOutcome | None) -> Finding | None:
    if finding.remedy != "hotpatch" or outcome is None:
        return finding
    if outcome.outcome == "gone":
        return None
    if outcome.outcome in GOOD_OUTCOMES:
        return finding
    return replace(
        finding,
        remedy="restart",
        reason=outcome.reason or outcome.outcome,
        cause=outcome.cause,
        next_step=outcome.next_step,
    )
