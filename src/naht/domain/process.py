"""What is true of live processes, and what an operation on one came to. Facts only.

Addresses are absolute in the target; times are nanoseconds; sizes are bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from naht.domain.build_id import BuildId
from naht.domain.package import ShippedVersion


class ProcessKey(msgspec.Struct, frozen=True):
    """A process, safe against PID reuse: `start_time` is field 22 of /proc/PID/stat (ticks)."""

    pid: int
    start_time: int


class LoadedObject(msgspec.Struct, frozen=True):
    """One ELF object mapped in one process. `bias` is what to add to a link-time address."""

    build_id: BuildId  # "" for an object without; no hotpatch can be for it
    bias: int
    start: int
    end: int
    path: str  # as /proc/PID/maps shows it, " (deleted)" included
    device: str
    inode: int


HotpatchState = Literal["active", "pending", "inactive", "altered", "unloaded", "orphan"]
"""active: every function goes to the hotpatch's code and that code is intact.
pending: an apply was cut short; the old code runs, the next apply or revert finishes it.
inactive: reverted; its memory waits to be reclaimed.
altered: code or record is not what was written.
unloaded: its object is no longer mapped.
orphan: memory taken by an apply that was cut short before its record was written."""


class HotpatchInProcess(msgspec.Struct, frozen=True):
    """A hotpatch as it is found in a process's own memory."""

    id: str  # "" for an orphan
    state: HotpatchState
    detail: str  # one sentence for people; "" when there is nothing to add
    digest: str
    level: int
    build_id: str
    object_path: str
    advisories: tuple[str, ...]
    functions: tuple[str, ...]
    record_address: int
    memory_bytes: int
    threads_in_old_code: tuple[int, ...] = ()
    brings_to: tuple[ShippedVersion, ...] = ()


class ProcessState(msgspec.Struct, frozen=True):
    key: ProcessKey
    command: str
    hotpatches: tuple[HotpatchInProcess, ...]
    error: str = ""  # why the process could not be read; then hotpatches is empty


Outcome = Literal[
    "applied", "already-applied", "would-apply",
    "reverted", "reverted-memory-kept", "not-applied", "would-revert",
    "refused", "busy", "gone", "failed",
]  # fmt: skip

GOOD_OUTCOMES = frozenset(
    {"applied", "already-applied", "would-apply", "reverted", "reverted-memory-kept",
     "not-applied", "would-revert"}
)  # fmt: skip


class ProcessOutcome(msgspec.Struct, frozen=True):
    """What one operation did to one process. `reason`, `cause` and `next_step` explain trouble."""

    key: ProcessKey
    command: str
    hotpatch: str
    outcome: Outcome
    reason: str = ""  # stable code, such as "seccomp-strict"
    cause: str = ""
    next_step: str = ""
    notes: tuple[str, ...] = ()  # what the reader should know although it went well
    replaced: tuple[str, ...] = ()  # hotpatch ids that this one superseded in the process
    functions: int = 0
    threads: int = 0
    pause_ns: int = 0  # all threads stopped: first stop to last resume, of the final attempt
    borrow_ns: int = 0  # one thread stopped, while the others ran: the sum of such times
    attempts: int = 0
    memory_bytes: int = 0


class ScannedObject(msgspec.Struct, frozen=True):
    """An object in a live process, against the file on disk and against a given hotpatch."""

    object: LoadedObject
    disk_build_id: str  # build-id of the file now at that path in the process's view; "" if none
    stale: bool  # the file on disk has other code, or is gone: the process runs old code
    fits: bool  # the given hotpatch is for this build-id
    applied: tuple[str, ...]  # ids of hotpatches active on it
    installed_path: str = ""  # where the file on disk was looked for; "" if it never was a file
    hotpatches: tuple[HotpatchInProcess, ...] = ()  # whatever their state
    rebuilt: bool = False  # the file on disk differs in its build-id only


class ScannedProcess(msgspec.Struct, frozen=True):
    key: ProcessKey
    command: str
    objects: tuple[ScannedObject, ...]
    error: str = ""
