"""Gives the memory of an inactive hotpatch back, once nothing in the process can reach it.

Refuses to guess: while a thread is in the arena, or a register, a live stack or writable memory
holds an address in it, or the author's code handed out its own addresses, the memory stays. It
runs at the end of a revert and on every later visit to the process.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from naht.errors import BusyError, NahtError, TargetGoneError
from naht.live.native import record as records
from naht.live.native import unwind
from naht.live.native.arena import STUB_SIZE
from naht.live.native.coroutines import hidden_stack_signs
from naht.live.native.discovery import find_elves
from naht.live.native.procfs import Mapping, mapping_at
from naht.live.native.record import Record
from naht.live.native.remote import Range, Step
from naht.live.native.session import Session, state_expected
from naht.live.native.switching import JUMP_SIZE

SCAN_LIMIT = 256 << 20  # bytes of writable memory that are searched under stop, at most
ATTEMPTS = 4


def reclaim(session: Session, record: Record, others: Sequence[Record]) -> str:
    """ "" when the memory was given back, else one sentence that says why not."""
    if record.payload.escapes == "code":
        return "the hotpatch handed out addresses of its code, so its memory stays"
    try:
        step = _plan_scan(session, record, others)
        if step is None:
            return "an entry still leads into it"
        session.commit(step, attempts=ATTEMPTS)
        if not unwind.forget(session, record):
            return "the unwinder may still look at its tables"
        if unreferenced := _what_nobody_may_hold(session, record):
            search = replace(step, unreferenced=unreferenced, scan_limit=SCAN_LIMIT)
            session.commit(search, attempts=ATTEMPTS)
        _unmap(session, record)
    except BusyError as error:
        return error.cause
    except TargetGoneError:
        raise
    except NahtError as error:
        return error.cause
    return ""


def give_back(session: Session, record: Record) -> str:
    """The same for an arena that nothing ever led into: no look at the threads is needed."""
    if not unwind.forget(session, record):
        return "the unwinder may still look at its tables"
    _unmap(session, record)
    return ""


def _unmap(session: Session, record: Record) -> None:
    session.remote.unmap(record.start, record.end - record.start, records.MAGIC)


def _plan_scan(session: Session, record: Record, others: Sequence[Record]) -> Step | None:
    payload = record.payload
    entries = []
    for redirect in payload.redirects:
        now = session.memory.read_up_to(redirect.address, JUMP_SIZE)
        if now.hex() in (redirect.jump, redirect.between):
            return None
        entries.append((redirect.address, now))
    return Step(
        expected=[state_expected(record), *entries],
        writes=[],
        quiet=record.ranges("code"),
        still=[stub for other in others for stub in _trampolines(other)],
    )


def _what_nobody_may_hold(session: Session, record: Record) -> list[Range]:
    """The parts to which no word of the process may point. Stacks of coroutines are no thread's, so
    that a return address on one is found only by a search of all memory."""
    if record.payload.escapes == "data":
        return _reachable_parts(session, record)
    elves = [elf for elf, _ in find_elves(session.memory, session.remote.maps())]
    return record.ranges("code") if hidden_stack_signs(session.memory, elves) else []


def _reachable_parts(session: Session, record: Record) -> list[Range]:
    """What the program can have got hold of.

    That leaves out the record and the unwind tables: only the unwinder ever pointed to those. It
    has forgotten them, but memory that it freed may still hold the old words.
    """
    ranges = [
        (region.address, region.address + region.size)
        for region in record.payload.regions
        if region.kind != "record"
    ]
    if record.payload.unwind_frames:
        ranges = without(ranges, unwind.tables_of(session.memory, record))
    return ranges


def without(ranges: Sequence[Range], hole: Range) -> list[Range]:
    """The parts of the ranges outside of `hole`."""
    parts = [
        part
        for start, end in ranges
        for part in ((start, min(end, hole[0])), (max(start, hole[1]), end))
    ]
    return [(start, end) for start, end in parts if start < end]


def _trampolines(record: Record) -> list[tuple[int, int]]:
    """A thread in a newer hotpatch's trampoline may be on its way into this one."""
    found = []
    for change in record.payload.changes:
        if change.between:
            jump = bytes.fromhex(change.between)
            target = change.address + 5 + int.from_bytes(jump[1:5], "little", signed=True)
            found.append((target, target + STUB_SIZE))
    return found


def reclaim_inactive(session: Session, found: Sequence[Record]) -> None:
    """Every inactive hotpatch in the process; what must stay is noted."""
    for record in found:
        if record.state == records.STATE_INACTIVE:
            others = [o for o in found if o.address != record.address]
            if why := reclaim(session, record, others):
                session.notes.append(f"memory of {record.payload.id} is kept: {why}")


def reclaim_orphans(session: Session, orphans: Sequence[Mapping]) -> None:
    """Memory that an apply took before it could write its record: nothing was ever in it."""
    for mapping in orphans:
        now = mapping_at(session.remote.maps(), mapping.start)
        if now == mapping:
            session.remote.unmap(mapping.start, mapping.size, bytes(8))
            session.notes.append("memory of an apply that was cut short was given back")
