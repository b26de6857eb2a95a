"""The native engine: naht's operations on ELF objects in live processes.

Each operation opens a process, judges whether it may be touched, settles what an earlier one left,
does its work and says what it came to. Errors that are meant for people become outcomes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from naht.domain.build_id import parse_build_id
from naht.domain.process import (
    LoadedObject,
    Outcome,
    ProcessKey,
    ProcessOutcome,
    ProcessState,
    ScannedProcess,
)
from naht.errors import (
    BusyError,
    HostileInputError,
    NahtError,
    RefusedError,
    TargetGoneError,
    TargetRefusedError,
)
from naht.hotpatch.manifest import Consistency
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import Progress, RetryPolicy
from naht.live.native import discovery, preflight, procfs, target_facts, threads
from naht.live.native import record as records
from naht.live.native.apply import Applied, Prepared, apply_to_object, prepare_hotpatch
from naht.live.native.loans import wait_for_loans
from naht.live.native.locks import lock_process
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping
from naht.live.native.reclaim import reclaim, reclaim_inactive, reclaim_orphans
from naht.live.native.record import Record
from naht.live.native.recorded import read_records, record_mappings
from naht.live.native.remote import Remote
from naht.live.native.revert import deactivate
from naht.live.native.session import Session
from naht.live.native.settle import leads_into, settle
from naht.live.native.startup import wait_for_program

NEEDED_BYTES = 64 << 10  # what most hotpatches map; mmap itself says no to more

Work = Callable[[Session, ProcessOutcome], ProcessOutcome]


class NativeEngine:
    """Implements `naht.live.engine.Engine`. Safe to use from several threads at once."""

    def __init__(self) -> None:
        self._prepared: dict[str, Prepared] = {}

    def find(self, hotpatch: VerifiedHotpatch) -> Sequence[ProcessKey]:
        """Root is also given the processes that cannot be read: each is then refused by name."""
        build_id = parse_build_id(self._prepare(hotpatch).image.target.build_id)
        found = discovery.find_processes(build_id)
        unreadable = [p.pid for p in found.unreadable] if os.geteuid() == 0 else []
        return [p.key for p in found.processes] + _keys_of(unreadable)

    def _prepare(self, hotpatch: VerifiedHotpatch) -> Prepared:
        if hotpatch.digest not in self._prepared:
            self._prepared[hotpatch.digest] = prepare_hotpatch(hotpatch)
        return self._prepared[hotpatch.digest]

    def find_record(self, hotpatch_id: str) -> Sequence[ProcessKey]:
        from naht.live.native.status import processes_with_records  # noqa: PLC0415

        return [key for key in _keys_of(processes_with_records()) if _holds(key, hotpatch_id)]

    def apply(
        self, hotpatch: VerifiedHotpatch, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome:
        def work(session: Session, blank: ProcessOutcome) -> ProcessOutcome:
            return self._apply(session, self._prepare(hotpatch), blank, dry_run)

        manifest = hotpatch.manifest
        return _run(key, manifest.id, retry, work, manifest.consistency)

    def _apply(
        self, session: Session, prepared: Prepared, blank: ProcessOutcome, dry_run: bool
    ) -> ProcessOutcome:
        objects = _loaded(session)
        targets = [o for o in objects if o.build_id == prepared.image.target.build_id]
        if not targets:
            raise TargetRefusedError(
                "wrong-build-id",
                f"Process {session.remote.key.pid} has no object with build-id "
                f"{prepared.image.target.build_id} mapped.",
                "Build the hotpatch for what runs there: `naht scan --pid` names it.",
            )
        found = _settle_all(session, objects, dry_run)
        applied: list[Applied] = []
        with _noting_progress(session, applied, len(targets), "changed"):
            for target in targets:
                done = apply_to_object(session, prepared, target, found, dry_run=dry_run)
                applied.append(done)
        already = all(a.already for a in applied)
        outcome: Outcome = "would-apply" if dry_run else "applied"
        return replace(
            blank,
            outcome="already-applied" if already else outcome,
            replaced=tuple(sorted({name for a in applied for name in a.replaced})),
            functions=len(prepared.image.functions),
            memory_bytes=sum(a.memory_bytes for a in applied),
        )

    def revert(
        self, hotpatch_id: str, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome:
        def work(session: Session, blank: ProcessOutcome) -> ProcessOutcome:
            return _revert(session, hotpatch_id, blank, dry_run)

        return _run(key, hotpatch_id, retry, work, "overlap")

    def status(self, pids: Iterable[int] | None) -> Sequence[ProcessState]:
        from naht.live.native import status  # noqa: PLC0415  (apply must start fast)

        return status.read_states(pids)

    def scan(
        self,
        hotpatch: VerifiedHotpatch | None,
        *,
        pids: Iterable[int] | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Sequence[ScannedProcess]:
        from naht.live.native import scan  # noqa: PLC0415

        wanted = self._prepare(hotpatch).image.target.build_id if hotpatch else ""
        return scan.scan_processes(wanted, pids, progress)


def _run(
    key: ProcessKey, name: str, retry: RetryPolicy, work: Work, consistency: Consistency
) -> ProcessOutcome:
    """Opens the process, judges it, works on it, and tells the outcome, whatever it is."""
    blank = ProcessOutcome(key, _command(key.pid), name, "failed")
    session = None
    try:
        with lock_process(key), TargetMemory.of(key) as memory:
            maps = _maps_of_program(memory, retry, consistency)
            _check_target(memory, maps, consistency)
            remote = Remote(key, memory, maps, retry.longest_loan_ns)
            session = Session(memory, remote, retry)
            return _with_costs(work(session, blank), session)
    except NahtError as error:
        outcome = _trouble(blank, error)
        return _with_costs(outcome, session) if session else outcome


def _maps_of_program(
    memory: TargetMemory, retry: RetryPolicy, consistency: Consistency
) -> Sequence[Mapping]:
    try:
        return wait_for_program(memory, retry)
    except BusyError:
        # What keeps it from starting (a debugger, a frozen group) is the better answer.
        _check_target(memory, procfs.read_maps(memory.pid), consistency)
        raise


def _check_target(memory: TargetMemory, maps: Sequence[Mapping], consistency: Consistency) -> None:
    """Refuses, before anything is touched, a process that cannot be changed safely."""
    quiescent = consistency == "quiescent"
    candidates = [c.thread for c in threads.find_candidates(memory.pid, maps)]
    facts = target_facts.gather(memory, maps, candidates, quiescent=quiescent)
    preflight.check(facts, needed_bytes=NEEDED_BYTES, quiescent=quiescent)


def _trouble(blank: ProcessOutcome, error: NahtError) -> ProcessOutcome:
    outcomes: list[tuple[type[NahtError], Outcome]] = [
        (RefusedError, "refused"), (HostileInputError, "refused"), (BusyError, "busy"),
        (TargetGoneError, "gone"),
    ]  # fmt: skip
    outcome: Outcome = next((o for kind, o in outcomes if isinstance(error, kind)), "failed")
    reason = error.reason if isinstance(error, RefusedError) else ""
    if isinstance(error, HostileInputError):
        reason = "malformed"
    return replace(
        blank, outcome=outcome, reason=reason, cause=error.cause, next_step=error.next_step
    )


def _with_costs(outcome: ProcessOutcome, session: Session) -> ProcessOutcome:
    return replace(
        outcome, notes=outcome.notes + tuple(session.notes), threads=session.threads,
        pause_ns=session.pause_ns, borrow_ns=session.remote.borrow_ns, attempts=session.attempts,
    )  # fmt: skip


def _command(pid: int) -> str:
    try:
        return procfs.read_command(pid)
    except NahtError:
        return ""


def _loaded(session: Session) -> tuple[LoadedObject, ...]:
    return discovery.find_objects(session.memory, session.remote.maps())


def _settle_all(session: Session, objects: Sequence[LoadedObject], dry_run: bool) -> list[Record]:
    """The records of the process, none in between; inactive memory is given back on the way."""
    maps = session.remote.maps()
    if not record_mappings(maps):
        return []
    wait_for_loans(session.remote.key.pid, session.retry)
    maps = session.remote.maps()
    found = read_records(session.memory, maps)
    if dry_run:
        return [r for r in found if r.state != records.STATE_ACTIVE or leads_into(session, r)]
    from naht.live.native.status import find_orphans  # noqa: PLC0415

    # An apply that was cut short comes first: it knows the entries of what it replaces, too.
    for state in (records.STATE_READY, records.STATE_ACTIVE):
        for record in (r for r in found if r.state == state):
            settle(session, record, [o for o in found if o.address != record.address], objects)
        found = read_records(session.memory, session.remote.maps())
    reclaim_inactive(session, found)
    reclaim_orphans(session, find_orphans(session.memory, maps))
    return read_records(session.memory, session.remote.maps())


def _revert(
    session: Session, hotpatch_id: str, blank: ProcessOutcome, dry_run: bool
) -> ProcessOutcome:
    objects = _loaded(session)
    found = _settle_all(session, objects, dry_run)
    named = [r for r in found if r.payload.id == hotpatch_id]
    mine = [r for r in named if r.state == records.STATE_ACTIVE]
    if not mine:
        return replace(blank, outcome="reverted-memory-kept" if named else "not-applied")
    outcome: Outcome = "would-revert" if dry_run else "reverted"
    reverted: list[Record] = []
    with _noting_progress(session, reverted, len(mine), "reverted"):
        for record in mine if not dry_run else ():
            if _take_out(session, record, [o for o in found if o.address != record.address]):
                outcome = "reverted-memory-kept"
            reverted.append(record)
    return replace(
        blank,
        outcome=outcome,
        functions=sum(len(r.payload.redirects) for r in mine),
        memory_bytes=sum(r.end - r.start for r in mine),
    )


@contextmanager
def _noting_progress(
    session: Session, done: Sequence[object], total: int, what: str
) -> Iterator[None]:
    """One build-id may be loaded several times: trouble with one instance undoes no other."""
    try:
        yield
    except NahtError:
        if done:
            session.notes.append(f"{len(done)} of {total} instances of the object are {what}")
        raise


def _take_out(session: Session, record: Record, others: Sequence[Record]) -> str:
    inactive = deactivate(session, record)
    pause, attempts = session.pause_ns, session.attempts
    why = reclaim(session, inactive, others)
    session.pause_ns, session.attempts = pause, attempts
    if why:
        session.notes.append(f"its memory is given back later: {why}")
    return why


def _keys_of(pids: Iterable[int]) -> list[ProcessKey]:
    keys = []
    for pid in pids:
        try:
            keys.append(procfs.read_key(pid))
        except NahtError:
            continue  # it ended meanwhile
    return keys


def _holds(key: ProcessKey, hotpatch_id: str) -> bool:
    try:
        with TargetMemory.of(key) as memory:
            found = read_records(memory, procfs.read_maps(key.pid))
    except NahtError:
        return False
    return any(record.payload.id == hotpatch_id for record in found)
