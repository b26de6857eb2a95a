"""How a hole is shown to close in a live daemon: old → patched → reverted → patched again, in the
same processes, while clients on kept connections go on. Nothing is believed that can be looked at:
the processes' own memory says what is active, the kernel says who holds which connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from naht.build.debian.change_job import ObjectChange
from scripts.corpus.daemon_check import DaemonTroubleError, Served, serving
from scripts.corpus.naht_cli import Naht
from scripts.corpus.objects import LivePart
from scripts.corpus.package_data import Daemon, ProofOfDaemon
from scripts.corpus.processes import map_object
from scripts.corpus.proofs.facts import Telling
from scripts.corpus.proofs.load import Load, under_load
from scripts.corpus.proofs.witness import Witness
from scripts.corpus.results import Check
from scripts.corpus.rooms import places

_SETTLE = 0.5  # a connection that lasts so long is one that is kept
_ENOUGH = 200  # requests between two steps


def tell(part: LivePart, daemon: Daemon, proof: ProofOfDaemon, telling: Telling) -> None:
    with part.roots() as (old, new):
        if old is None:
            telling.problems += _why_no_hotpatch(part)
            return
        try:
            with serving(old, daemon, part.data) as served, under_load(served) as load:
                _Story(part, served, load, proof, telling).tell()
            with serving(new, daemon, part.data) as served:
                telling.seen.new = served.observe(proof)
        except DaemonTroubleError as error:
            telling.problems.append(str(error))


def _why_no_hotpatch(part: LivePart) -> list[str]:
    return [
        f"{o.name}: refused [{o.refusal.reason}] {o.refusal.cause}"
        for o in part.change.objects if o.refusal
    ] or ["no shipped object changes"]  # fmt: skip


@dataclass
class _Target:
    naht: Naht
    pids: list[int]
    hotpatch_id: str = ""  # known once it was applied


@dataclass
class _Story:
    part: LivePart
    served: Served
    load: Load
    proof: ProofOfDaemon
    telling: Telling
    pids: list[int] = field(default_factory=list)
    targets: list[_Target] = field(default_factory=list)

    def tell(self) -> None:
        telling, seen = self.telling, self.telling.seen
        self.load.wait_for_requests(_ENOUGH)
        self._find_targets()
        start = self._remember()
        seen.old = self._observe()
        self._apply()
        seen.patched = self._observe()
        self._revert()
        seen.reverted = self._observe()
        self._apply()
        seen.again = self._observe()
        telling.problems += start.missing(Witness.of(self.pids))
        telling.connections = len(start.connections)
        last = self.load.count()
        telling.requests, telling.errors = last.requests, last.errors
        telling.problems += last.reasons

    def _find_targets(self) -> None:
        """Every process of the daemon that has an object of the change mapped, connections' own
        processes too."""
        running = self.served.root.processes()
        for thing in self.part.change.objects:
            pids = [pid for pid in running if _maps(pid, thing)]
            if pids and thing.hotpatch:
                path = self.part.change.path(thing.hotpatch)
                self.targets.append(_Target(Naht(path, thing.build_id), pids))
                self.telling.objects.append(places(thing)[0])
                self.telling.hotpatch_bytes += path.stat().st_size
        self.pids = sorted({pid for target in self.targets for pid in target.pids})
        if not self.pids:
            raise DaemonTroubleError("no process of it has a changed object mapped")

    def _remember(self) -> Witness:
        first = Witness.of(self.pids)
        time.sleep(_SETTLE)
        return first.lasting(Witness.of(self.pids))

    def _observe(self) -> str:
        answer = self.served.observe(self.proof)
        self.load.wait_for_requests(_ENOUGH)
        return answer

    def _apply(self) -> None:
        check = Check("daemon", self.telling.daemon)
        with self._counting():
            for target in self.targets:
                target.hotpatch_id = target.naht.apply(target.pids, check)
        for target in self.targets:
            target.naht.check_active(target.hotpatch_id, target.pids, check)
        self._learn(check)

    def _revert(self) -> None:
        check = Check("daemon", self.telling.daemon)
        with self._counting():
            for target in reversed(self.targets):
                target.naht.revert(target.hotpatch_id, target.pids, check)
        self._learn(check)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        before = self.load.count()
        yield
        after = self.load.count()
        self.telling.while_naht_worked += after.requests - before.requests
        self.telling.worst_ms = max(self.telling.worst_ms, after.worst_ms)

    def _learn(self, check: Check) -> None:
        telling = self.telling
        telling.problems += check.problems
        if check.refusal:
            telling.problems.append(f"refused [{check.refusal.reason}] {check.refusal.cause}")
        telling.processes = len(self.pids)
        telling.threads = max(telling.threads, check.threads)
        telling.functions = max(telling.functions, check.functions)
        telling.attempts = max(telling.attempts, check.attempts)
        telling.pause_ns = max(telling.pause_ns, check.pause_ns)
        telling.memory_bytes = max(telling.memory_bytes, check.memory_bytes)
        if not all(target.hotpatch_id for target in self.targets):
            raise DaemonTroubleError("it could not be applied")


def _maps(pid: int, thing: ObjectChange) -> bool:
    try:
        return map_object(pid, thing.build_id)
    except Exception:  # noqa: BLE001  it ended meanwhile
        return False
