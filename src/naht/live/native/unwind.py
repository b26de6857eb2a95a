"""Tells the target's unwinder about a hotpatch's frames, and makes it forget them.

libgcc finds unwind tables through the dynamic loader's objects, of which the arena is none, or
through `__register_frame_info` (unwind-dw2-fde.c), which takes a lock of its own and no memory. It
is called on a borrowed thread that can hold no lock. What is known of the registration stands in
the record's header, written before and after each call, so that it is never undone twice: libgcc
aborts when asked to forget what it does not know.
"""

from __future__ import annotations

import struct

from naht.live.native import record as records
from naht.live.native.memory import TargetMemory
from naht.live.native.record import Record
from naht.live.native.remote import Range
from naht.live.native.session import Session
from naht.live.native.symbols import ProcessSymbols

UNWINDER = "libgcc_s.so.1"
MAX_TABLES = 64 << 20  # bytes of unwind tables in one hotpatch


def register(session: Session, record: Record) -> None:
    """Does nothing when the image has no unwind table or the target no unwinder."""
    frames = record.payload.unwind_frames
    function = _unwinder_function(session, "__register_frame_info") if frames else 0
    if not function:
        return
    _set_state(session, record, records.UNWIND_REGISTERING)
    storage = record.address + records.UNWIND_OFFSET
    session.remote.run([("function", function, (frames, storage))], plain=True)
    _set_state(session, record, records.UNWIND_REGISTERED)


def forget(session: Session, record: Record) -> bool:
    """False when it cannot be known whether the unwinder still looks at the tables."""
    if session.remote.away:
        return False  # what it has still to do may be the registration
    state = _read_state(session, record)
    if state == records.UNWIND_REGISTERING and not _is_filled_in(session, record):
        state = records.UNWIND_NONE
    if state == records.UNWIND_NONE:
        return True
    function = _unwinder_function(session, "__deregister_frame_info")
    if state == records.UNWIND_REMOVING or not function:
        return False
    _set_state(session, record, records.UNWIND_REMOVING)
    session.remote.run([("function", function, (record.payload.unwind_frames,))], plain=True)
    _set_state(session, record, records.UNWIND_NONE)
    return True


def tables_of(memory: TargetMemory, record: Record) -> Range:
    """From the first CIE to the zero word that ends them, within their region."""
    start = record.payload.unwind_frames
    limit = next(
        (r.address + r.size for r in record.payload.regions if 0 <= start - r.address < r.size),
        start,
    )
    table = memory.read(start, min(limit - start, MAX_TABLES))
    at = 0
    while at + 4 <= len(table) and (length := int(struct.unpack_from("<I", table, at)[0])):
        at += 4 + length
    return start, start + min(at + 4, len(table))


def _is_filled_in(session: Session, record: Record) -> bool:
    """libgcc stores the table's address in the object that we gave it (`u.single`, word 3)."""
    storage = record.address + records.UNWIND_OFFSET
    return session.memory.unsigned(storage + 24) == record.payload.unwind_frames


def _unwinder_function(session: Session, name: str) -> int:
    symbols = ProcessSymbols(session.memory, session.remote.maps())
    return symbols.exported_by(UNWINDER, name)


def _read_state(session: Session, record: Record) -> int:
    raw = session.memory.read(record.address + records.UNWIND_STATE_OFFSET, 4)
    return int(struct.unpack("<I", raw)[0])


def _set_state(session: Session, record: Record, state: int) -> None:
    session.remote.write(record.address + records.UNWIND_STATE_OFFSET, struct.pack("<I", state))
