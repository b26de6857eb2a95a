"""Takes a hotpatch out of one process, in two halves: deactivate, then reclaim.

Deactivating restores the entries; the hotpatch's code stays mapped, so threads may finish in it.
A set of functions that must change together waits for a moment when none is in it; a single
function need not, because each of its calls is wholly old or wholly new.
"""

from __future__ import annotations

from naht.errors import BusyError
from naht.live.native import record as records
from naht.live.native.apply import run_hook
from naht.live.native.record import Record
from naht.live.native.remote import Step, Write
from naht.live.native.session import Session, entry_range, state_expected, state_write


def deactivate(session: Session, record: Record) -> Record:
    """Restores the original entries. Returns the record as it then stands."""
    payload = record.payload
    if payload.pre_revert:
        run_hook(session.remote, payload.pre_revert)
    for redirect in payload.redirects:
        end = redirect.new_address + redirect.new_size
        session.names[(redirect.new_address, end)] = f"{redirect.name} (new code)"
    quiet = record.ranges("code") if payload.consistency == "quiescent" else []
    try:
        session.commit(_plan(record, quiet))
    except BusyError:
        if len(payload.redirects) > 1 or not quiet:
            raise
        session.commit(_plan(record, []))
        session.notes.append(
            f"a thread still runs the code of {payload.id}; every new call runs the old code"
        )
    return Record(record.address, records.STATE_INACTIVE, record.unwind, payload)


def _plan(record: Record, quiet: list[tuple[int, int]]) -> Step:
    payload = record.payload
    return Step(
        expected=[
            state_expected(record),
            *((r.address, bytes.fromhex(r.jump)) for r in payload.redirects),
        ],
        writes=[*_writes(record), state_write(record, records.STATE_INACTIVE)],
        quiet=quiet,
        still=[entry_range(r.address) for r in payload.redirects],
    )


def _writes(record: Record) -> list[Write]:
    """Aside, then the pivot, then the rest: see `switching`."""
    redirects, pivot = record.payload.redirects, record.payload.revert_pivot
    original = [(r.address, bytes.fromhex(r.original)) for r in redirects]
    return [
        *((r.address, bytes.fromhex(r.between)) for r in redirects if r.between),
        *(write for write in original if write[0] == pivot),
        *(write for write in original if write[0] != pivot),
    ]
