"""Finishes what an operation that was cut short left in a process, forwards or backwards.

The process itself says how far it got: the record's state, and the bytes at each entry. For a set
with a pivot the pivot decides; functions that change each for itself go back to what ran before.
Either way every function runs what it ran a moment ago, so no quiet moment is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from naht.domain.process import LoadedObject
from naht.errors import HostileInputError, TargetRefusedError
from naht.live.native import record as records
from naht.live.native.memory import TargetMemory
from naht.live.native.record import Record
from naht.live.native.remote import Step, Write
from naht.live.native.session import Session, entry_range, state_expected, state_write
from naht.live.native.switching import JUMP_SIZE


class EntryState(msgspec.Struct, frozen=True):
    """One entry as it is, and what it may be: `before`, `between` (maybe b""), `after`."""

    address: int
    now: bytes
    before: bytes
    between: bytes
    after: bytes

    @property
    def is_known(self) -> bool:
        return self.now in {self.before, self.between, self.after}


def settle(
    session: Session, record: Record, others: Sequence[Record], objects: Sequence[LoadedObject]
) -> Record:
    """The record as it stands afterwards: active or inactive, never in between."""
    if record.state not in (records.STATE_READY, records.STATE_ACTIVE):
        return record
    entries = read_entries(session.memory, record)
    if entries is None or not is_loaded(record, objects):
        return _finish(session, record, records.STATE_INACTIVE, [], [])
    check_known(record, entries)
    if record.state == records.STATE_READY:
        return _settle_apply(session, record, entries, others)
    return _settle_revert(session, record, entries)


def is_loaded(record: Record, objects: Sequence[LoadedObject]) -> bool:
    """Whether the object is still where it was when the hotpatch was made for it."""
    payload = record.payload
    return any(o.bias == payload.bias and o.build_id == payload.build_id for o in objects)


def read_entries(memory: TargetMemory, record: Record) -> list[EntryState] | None:
    """The entries that the record's present operation changes; None when they are not mapped."""
    payload = record.payload
    applying = record.state == records.STATE_READY
    rows = (
        [(c.address, c.before, c.between, c.after) for c in payload.changes]
        if applying
        else [(r.address, r.jump, r.between, r.original) for r in payload.redirects]
    )
    try:
        return [
            EntryState(
                address, memory.read(address, JUMP_SIZE),
                *(bytes.fromhex(text)[:JUMP_SIZE] for text in texts),
            )
            for address, *texts in rows
        ]  # fmt: skip
    except HostileInputError:
        return None


def leads_into(session: Session, record: Record) -> bool:
    """Whether an active hotpatch's entries are not all original again."""
    entries = read_entries(session.memory, record)
    return entries is not None and not all(e.now == e.after for e in entries)


def check_known(record: Record, entries: Sequence[EntryState]) -> None:
    for entry in entries:
        if not entry.is_known:
            raise TargetRefusedError(
                "altered-code",
                f"The code at {entry.address:#x} is neither the original nor what "
                f"{record.payload.id} put there: {entry.now.hex(' ')}.",
                "Find out who changed it; restart the process with the fixed object on disk.",
                where=f"{entry.address:#x}",
            )


def _settle_apply(
    session: Session, record: Record, entries: Sequence[EntryState], others: Sequence[Record]
) -> Record:
    if has_switched(record.payload.pivot, entries):
        replaced = [o for o in others if is_same_object(o, record)]
        return _finish(session, record, records.STATE_ACTIVE, _to_after(entries), replaced)
    return _finish(session, record, records.STATE_INACTIVE, _to_before(entries), [])


def _settle_revert(session: Session, record: Record, entries: Sequence[EntryState]) -> Record:
    if all(entry.now == entry.before for entry in entries):
        return record
    pivot = record.payload.revert_pivot
    if pivot and not has_switched(pivot, entries):
        return _finish(session, record, records.STATE_ACTIVE, _to_before(entries), [])
    return _finish(session, record, records.STATE_INACTIVE, _to_after(entries), [])


def has_switched(pivot: int, entries: Sequence[EntryState]) -> bool:
    if pivot:
        return any(e.address == pivot and e.now == e.after for e in entries)
    return all(entry.now == entry.after for entry in entries)


def is_same_object(one: Record, other: Record) -> bool:
    """Whether both stand on the same instance of the same object, the second itself excepted."""
    return (
        one.address != other.address
        and one.payload.bias == other.payload.bias
        and one.payload.build_id == other.payload.build_id
        and one.state == records.STATE_ACTIVE
    )


def _to_after(entries: Sequence[EntryState]) -> list[tuple[EntryState, bytes]]:
    return [(e, e.after) for e in entries if e.now != e.after]


def _to_before(entries: Sequence[EntryState]) -> list[tuple[EntryState, bytes]]:
    return [(e, e.before) for e in entries if e.now != e.before]


def _finish(
    session: Session, record: Record, state: int,
    changes: Sequence[tuple[EntryState, bytes]], replaced: Sequence[Record],
) -> Record:  # fmt: skip
    writes: list[Write] = [(entry.address, wanted) for entry, wanted in changes]
    writes += [state_write(other, records.STATE_INACTIVE) for other in replaced]
    writes += [state_write(record, state)]
    session.commit(
        Step(
            expected=[state_expected(record), *((e.address, e.now) for e, _ in changes)],
            writes=writes,
            still=[entry_range(e.address) for e, _ in changes],
        )
    )
    session.notes.append(f"{record.payload.id}: an operation that was cut short was finished")
    return Record(record.address, state, record.unwind, record.payload)
