"""What is truly in a process's memory: its records, judged against the code bytes they speak of.

Owns the judgement and the reports. A record is a claim: it counts as `active` only when its object
is still mapped, every redirect holds its jump and every fixed region has its digest. It relies on
no note outside the process, stops nothing and changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import msgspec

from naht.domain.process import (
    HotpatchInProcess,
    HotpatchState,
    LoadedObject,
    ProcessState,
)
from naht.errors import HostileInputError, NahtError, TargetGoneError
from naht.live.native import procfs, recorded
from naht.live.native import record as records
from naht.live.native.discovery import find_objects
from naht.live.native.memory import TargetMemory
from naht.live.native.old_code import threads_in_old_code
from naht.live.native.procfs import Mapping
from naht.live.native.record import Payload, Record
from naht.live.native.vm_flags import mappings_with_flag

JUMP_SIZE = 5
MAX_DIGESTED = 512 << 20  # bytes hashed per process; what a hostile record costs us at most
_RECORD_MAPPING = b" -w-p "
_UNWRITTEN = bytes(8)


class Verdict(msgspec.Struct, frozen=True):
    state: HotpatchState
    detail: str = ""


def read_states(pids: Iterable[int] | None) -> tuple[ProcessState, ...]:
    """The given processes, or all whose memory holds a record. The vanished are left out."""
    chosen = processes_with_records() if pids is None else sorted(set(pids))
    return tuple(state for pid in chosen if (state := read_state(pid)) is not None)


def processes_with_records() -> list[int]:
    """PIDs of processes with a mapping that may hold a record; this process itself excepted."""
    own = os.getpid()
    return [pid for pid in sorted(procfs.list_pids()) if pid != own and _may_hold_record(pid)]


def _may_hold_record(pid: int) -> bool:
    try:
        return _RECORD_MAPPING in procfs.read_text(pid, "maps")
    except NahtError:
        return False  # unreadable: `status --pid` and `scan` say so


def read_state(pid: int) -> ProcessState | None:
    """None when the process is gone."""
    try:
        key, command = procfs.read_key(pid), procfs.read_command(pid)
    except TargetGoneError:
        return None
    try:
        with TargetMemory.of(key) as memory:
            return ProcessState(key, command, read_hotpatches(memory))
    except TargetGoneError:
        return None
    except NahtError as error:
        return ProcessState(key, command, (), error.cause)


def read_hotpatches(memory: TargetMemory) -> tuple[HotpatchInProcess, ...]:
    """Every hotpatch in the process, whole or not, in order of address."""
    maps = procfs.read_maps(memory.pid)
    candidates = recorded.record_mappings(maps)
    if not candidates:
        return ()
    judge = Judge(memory, find_objects(memory, maps), maps)
    orphans = set(find_orphans(memory, maps))
    found = [judge.describe(mapping, mapping in orphans) for mapping in candidates]
    return tuple(hotpatch for hotpatch in found if hotpatch is not None)


def find_orphans(memory: TargetMemory, maps: Sequence[Mapping]) -> list[Mapping]:
    """Mappings that an apply took and never wrote a record into.

    Ours by their signature: anonymous, write-only, mapped with MAP_NORESERVE, and the first word
    still empty, because a record's magic is what is written last.
    """
    empty = [
        m for m in recorded.record_mappings(maps)
        if memory.read_up_to(m.start, len(_UNWRITTEN)) == _UNWRITTEN
    ]  # fmt: skip
    if not empty:
        return []
    unreserved = mappings_with_flag(memory.pid, "nr")
    return [mapping for mapping in empty if (mapping.start, mapping.end) in unreserved]


class Judge:
    """Judges records of one process, as its memory is now."""

    def __init__(
        self, memory: TargetMemory, objects: Sequence[LoadedObject], maps: Sequence[Mapping]
    ) -> None:
        self.memory = memory
        self.objects = objects
        self.maps = maps
        self._left_to_digest = MAX_DIGESTED

    def describe(self, mapping: Mapping, orphan: bool) -> HotpatchInProcess | None:
        """None for a mapping that is somebody else's."""
        if orphan:
            return _nameless(mapping, "orphan", "The next apply or revert gives it back.")
        if self.memory.read_up_to(mapping.start, 8) != records.MAGIC:
            return None
        try:
            record = recorded.read_record(self.memory, mapping)
        except HostileInputError as error:
            return _nameless(mapping, "altered", error.cause)
        return self._describe_record(record)

    def _describe_record(self, record: Record) -> HotpatchInProcess:
        payload = record.payload
        verdict = self.judge(record)
        return HotpatchInProcess(
            id=payload.id,
            state=verdict.state,
            detail=verdict.detail,
            digest=payload.digest,
            level=payload.level,
            build_id=payload.build_id,
            object_path=payload.object_path,
            advisories=payload.advisories,
            functions=tuple(redirect.name for redirect in payload.redirects),
            record_address=record.address,
            memory_bytes=record.end - record.start,
            threads_in_old_code=self._threads_in_old_code(payload, verdict),
            brings_to=payload.brings_to,
        )

    def _threads_in_old_code(self, payload: Payload, verdict: Verdict) -> tuple[int, ...]:
        """Only where old and new may overlap: else none was there when it was applied."""
        if verdict.state != "active" or payload.consistency != "overlap":
            return ()
        parts = [(p.address, p.address + p.size) for r in payload.redirects for p in r.parts]
        return threads_in_old_code(self.memory, self.maps, parts)

    def judge(self, record: Record) -> Verdict:
        if not self._is_loaded(record.payload):
            return Verdict("unloaded", "Its object is not mapped there any more.")
        if record.state == records.STATE_INACTIVE:
            return self._judge_inactive(record)
        if record.state == records.STATE_READY:
            return self._judge_ready(record)
        if record.state == records.STATE_ACTIVE:
            return self._judge_active(record)
        return Verdict("altered", f"Its state field holds {record.state}, which nobody writes.")

    def _is_loaded(self, payload: Payload) -> bool:
        return any(o.bias == payload.bias and o.build_id == payload.build_id for o in self.objects)

    def _is_in_object(self, payload: Payload, address: int) -> bool:
        return any(o.bias == payload.bias and o.start <= address < o.end for o in self.objects)

    def _judge_inactive(self, record: Record) -> Verdict:
        for redirect in record.payload.redirects:
            if self._entry(redirect.address).hex() in (redirect.jump, redirect.between):
                return Verdict(
                    "altered",
                    f"It is marked inactive, but {redirect.name} at {redirect.address:#x} still "
                    "leads into it.",
                )
        return Verdict("inactive")

    def _judge_ready(self, record: Record) -> Verdict:
        """An apply is under way, or was cut short."""
        changes = record.payload.changes
        for change in changes:
            now = self._entry(change.address).hex()
            if now not in _starts(change.before, change.between, change.after):
                return _altered_entry(change.address, now)
        if changes and all(self._entry(c.address).hex() == c.after for c in changes):
            return Verdict("pending", "An apply was cut short after its code was switched to.")
        return Verdict("pending", "An apply was cut short; the old code runs.")

    def _judge_active(self, record: Record) -> Verdict:
        away = 0
        for redirect in record.payload.redirects:
            if not self._is_in_object(record.payload, redirect.address):
                return Verdict("altered", f"{redirect.name} is said to lie outside of its object.")
            now = self._entry(redirect.address).hex()
            if now == redirect.jump:
                continue
            if now not in _starts(redirect.original, redirect.between):
                return _altered_entry(redirect.address, now, redirect.name)
            away += 1
        if away and away == len(record.payload.redirects):
            return Verdict(
                "pending",
                "The old code runs again: a revert was cut short, or its object was loaded anew.",
            )
        if away:
            return Verdict("pending", "A revert was cut short; the next operation finishes it.")
        return self._judge_regions(record.payload)

    def _judge_regions(self, payload: Payload) -> Verdict:
        for region in payload.regions:
            if region.digest and self._digest(region.address, region.size) != region.digest:
                return Verdict(
                    "altered",
                    f"Its {region.kind} at {region.address:#x} is not what was written.",
                )
        return Verdict("active")

    def _digest(self, address: int, size: int) -> str:
        self._left_to_digest -= size
        if self._left_to_digest < 0:
            return ""
        try:
            return hashlib.sha256(self.memory.read(address, size)).hexdigest()
        except HostileInputError:
            return ""

    def _entry(self, address: int) -> bytes:
        return self.memory.read_up_to(address, JUMP_SIZE)


def _starts(*texts: str) -> set[str]:
    """The first five bytes of each, in hex; an empty text stands for nothing."""
    return {text[: 2 * JUMP_SIZE] for text in texts if text}


def _altered_entry(address: int, now: str, name: str = "") -> Verdict:
    where = f"{name} at {address:#x}" if name else f"the entry at {address:#x}"
    held = f"holds {now}" if now else "is not mapped"
    return Verdict("altered", f"Somebody else changed {where}: it {held}.")


def _nameless(mapping: Mapping, state: HotpatchState, detail: str) -> HotpatchInProcess:
    return HotpatchInProcess(
        id="", state=state, detail=detail, digest="", level=0, build_id="", object_path="",
        advisories=(), functions=(), record_address=mapping.start, memory_bytes=mapping.size,
    )  # fmt: skip
