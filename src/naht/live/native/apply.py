"""Applies one hotpatch to one process: settle what was left, plan, prepare, switch, tidy up.

Until the switch nothing that the target runs has changed, and whatever was prepared is taken back
when the switch is refused. Decides by level what a hotpatch replaces.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from naht.domain.process import LoadedObject
from naht.elf.file import ElfFile
from naht.errors import BusyError, NahtError, TargetGoneError, TargetRefusedError
from naht.hotpatch.image import HotpatchImage, check_image
from naht.hotpatch.manifest import Binding, Image
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.native import record as records
from naht.live.native import unwind
from naht.live.native.plan import ApplyPlan, PlanInput, check_bytes, plan_apply
from naht.live.native.reclaim import give_back, reclaim
from naht.live.native.record import Record, Region
from naht.live.native.remote import (
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_NORESERVE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    Call,
    Remote,
    Step,
    Write,
    map_call,
)
from naht.live.native.session import Session, entry_range, state_expected, state_write
from naht.live.native.symbols import ProcessSymbols

PLACE_ATTEMPTS = 5
_PROTECTION = {
    "rodata": PROT_READ,
    "code": PROT_READ | PROT_EXEC,
    "data": PROT_READ | PROT_WRITE,
}


class PlaceTakenError(BusyError):
    """The target took the place itself between planning and mapping: plan again."""


class Prepared(msgspec.Struct, frozen=True):
    """A hotpatch ready to be applied anywhere: its image is checked once."""

    hotpatch: VerifiedHotpatch
    image: Image
    view: HotpatchImage


def prepare_hotpatch(hotpatch: VerifiedHotpatch) -> Prepared:
    image = next(i for i in hotpatch.manifest.images if i.architecture == "x86_64")
    elf = ElfFile(hotpatch.image_bytes(image.member))
    return Prepared(hotpatch, image, check_image(elf, image))


class Applied(msgspec.Struct, frozen=True):
    """What applying to one instance of the object came to."""

    already: bool = False
    replaced: tuple[str, ...] = ()
    memory_bytes: int = 0


def apply_to_object(
    session: Session, prepared: Prepared, target: LoadedObject, found: Sequence[Record],
    *, dry_run: bool,
) -> Applied:  # fmt: skip
    """Applies to one loaded instance. `found`: the settled records of the process."""
    replaced = records_to_replace(prepared, target, found)
    if replaced is None:
        check_is_whole(session, prepared, target, found)
        return Applied(already=True)
    plan = _plan(session, prepared, target, replaced)
    if not dry_run:
        plan = _execute_somewhere(session, prepared, target, plan)
        for old in replaced:
            _reclaim_replaced(session, old, plan)
    size = sum(region.size for region in plan.payload.regions)
    return Applied(False, tuple(r.payload.id for r in replaced), size)


def records_to_replace(
    prepared: Prepared, target: LoadedObject, found: Sequence[Record]
) -> tuple[Record, ...] | None:
    """The active hotpatches that this one supersedes there; None when it is active itself."""
    manifest = prepared.hotpatch.manifest
    active = [
        r
        for r in found
        if r.state == records.STATE_ACTIVE
        and (r.payload.bias, r.payload.build_id) == (target.bias, target.build_id)
    ]
    for record in active:
        payload = record.payload
        if payload.digest == prepared.hotpatch.digest:
            return None
        if payload.id == manifest.id:
            raise TargetRefusedError(
                "same-id-other-content",
                f"A hotpatch with the id {manifest.id} but other content is active.",
                "Give every build an id of its own, or revert that one first.",
            )
        if payload.level >= manifest.level and payload.id not in manifest.supersedes:
            raise TargetRefusedError(
                "newer-active",
                f"{payload.id} (level {payload.level}) is active; {manifest.id} is level "
                f"{manifest.level}, and hotpatches of one object are cumulative.",
                "Apply a hotpatch of a higher level, or revert the active one first.",
            )
    return tuple(active)


def check_is_whole(
    session: Session, prepared: Prepared, target: LoadedObject, found: Sequence[Record]
) -> None:
    """A record alone does not prove that this hotpatch is active: its claims are held against the
    hotpatch and against memory."""
    from naht.live.native.status import Judge  # noqa: PLC0415  (status is seldom needed here)

    record = next(
        r for r in found
        if r.payload.digest == prepared.hotpatch.digest and r.state == records.STATE_ACTIVE
        and (r.payload.bias, r.payload.build_id) == (target.bias, target.build_id)
    )  # fmt: skip
    changed = {target.bias + f.redirect for f in prepared.image.functions if f.parts}
    verdict = Judge(session.memory, (target,), session.remote.maps()).judge(record)
    if verdict.state == "active" and changed == {r.address for r in record.payload.redirects}:
        return
    raise TargetRefusedError(
        "altered-code",
        f"Process {session.remote.key.pid} claims that {record.payload.id} is active, but it is "
        f"not whole. {verdict.detail or 'It names other functions than this hotpatch.'}",
        "Revert it and apply it again; if that fails, restart the process.",
        where=f"{record.address:#x}",
    )


def _plan(
    session: Session, prepared: Prepared, target: LoadedObject, replaced: tuple[Record, ...]
) -> ApplyPlan:
    _check_old_code(session, prepared, target, replaced)
    maps = session.remote.maps()
    symbols = ProcessSymbols(session.memory, maps)

    def resolve(binding: Binding) -> int:
        if binding.kind == "object":
            return target.bias + binding.offset
        if binding.kind == "tls_module":
            return symbols.tls_module(target)
        return symbols.address_of(target, binding.name, binding.version, weak=binding.weak)

    manifest = prepared.hotpatch.manifest
    given = PlanInput(
        manifest, prepared.hotpatch.digest, prepared.image, prepared.view, target, replaced
    )
    return plan_apply(given, session.memory, maps, resolve)


def _check_old_code(
    session: Session, prepared: Prepared, target: LoadedObject, replaced: Sequence[Record]
) -> None:
    """All of the old code must be what the hotpatch was built against, redirections excepted."""
    redirected = {r.address: r.jump for record in replaced for r in record.payload.redirects}
    for function in prepared.image.functions:
        for part in function.parts:
            start = target.bias + part.offset
            expected = bytearray(prepared.view.old_code[part.section])
            for address, jump in redirected.items():
                if start <= address < start + part.size:
                    expected[address - start : address - start + 5] = bytes.fromhex(jump)
            check_bytes(session.memory, function.name, start, bytes(expected))


# --- doing it --------------------------------------------------------------------------------


def _execute_somewhere(
    session: Session, prepared: Prepared, target: LoadedObject, plan: ApplyPlan
) -> ApplyPlan:
    for _ in range(PLACE_ATTEMPTS):
        try:
            _execute(session, plan)
            return plan
        except PlaceTakenError:
            plan = _plan(session, prepared, target, plan.replaced)
    _execute(session, plan)
    return plan


def _execute(session: Session, plan: ApplyPlan) -> None:
    record = _install(session, plan)
    try:
        unwind.register(session, record)
        _run_pre_apply(session, plan)
        _switch(session, plan, record)
    except NahtError:
        _discard(session, record, plan)
        raise
    _run_post_apply(session, plan)


def _install(session: Session, plan: ApplyPlan) -> Record:
    """Takes the whole arena with one mapping, so that its range is ours alone from the start, and
    writes the record into it, so that whoever comes next knows what it is; then the regions."""
    remote, regions = session.remote, plan.payload.regions
    first, end = regions[0], regions[-1].address + regions[-1].size
    _map(remote, [_reservation(first.address, end - first.address)], ())
    content = plan.contents["record"]
    remote.write(first.address + 8, content[8:])
    remote.write(first.address, content[:8])  # the magic last: a record is whole or none
    record = Record(first.address, records.STATE_READY, records.UNWIND_NONE, plan.payload)
    try:
        mappings = [_region_mapping(region) for region in regions[1:]]
        _map(remote, mappings, [(first.address, records.MAGIC)])
        for region in regions[1:]:
            remote.write(region.address, plan.contents[region.kind])
    except NahtError:
        _discard(session, record, plan)
        raise
    return record


def _reservation(address: int, size: int) -> Call:
    return map_call(address, size, PROT_WRITE, MAP_FIXED_NOREPLACE | MAP_NORESERVE)


def _region_mapping(region: Region) -> Call:
    return map_call(region.address, region.size, _PROTECTION[region.kind], MAP_FIXED)


def _map(remote: Remote, calls: Sequence[Call], expected: Sequence[Write]) -> None:
    results = remote.run(calls, expected=expected) if calls else []
    for result, (_, _, arguments) in zip(results, calls, strict=False):
        if result != arguments[0]:
            raise _map_refused(remote.key.pid, -result, arguments[0])


def _map_refused(pid: int, error: int, address: int) -> NahtError:
    cause = f"Process {pid} could not take memory at {address:#x}: {os.strerror(error)}."
    if error == errno.EEXIST:
        return PlaceTakenError(cause, "Run it again: the process took that place meanwhile.")
    return TargetRefusedError(
        "no-memory", cause, "Check its address space limit and security modules (execmem)."
    )


def _run_pre_apply(session: Session, plan: ApplyPlan) -> None:
    if not plan.hooks.pre_apply:
        return
    run_hook(session.remote, plan.hooks.pre_apply)
    answer = session.memory.read(plan.hooks.result, 8)
    if code := struct.unpack("<q", answer)[0]:
        raise TargetRefusedError(
            "pre-apply-hook",
            f"The hotpatch's own pre-apply check said {code} in process {session.remote.key.pid}.",
            "Read the hotpatch's notes for what that means; nothing was changed.",
        )


def _run_post_apply(session: Session, plan: ApplyPlan) -> None:
    """The hotpatch is active, whatever becomes of this hook."""
    if not plan.hooks.post_apply:
        return
    try:
        run_hook(session.remote, plan.hooks.post_apply)
    except TargetGoneError:
        raise
    except NahtError as error:
        session.notes.append(f"its post-apply hook did not run to its end: {error.cause}")


def run_hook(remote: Remote, stub: int) -> None:
    remote.run([("function", stub, ())], plain=True)


def _switch(session: Session, plan: ApplyPlan, record: Record) -> None:
    entries = plan.switching.entries
    for entry, redirect in zip(entries, plan.payload.redirects, strict=False):
        session.names |= {(p.address, p.address + p.size): entry.name for p in redirect.parts}
    together = plan.payload.consistency == "quiescent"
    writes = [
        *plan.switching.writes(),
        # Its own state last: only a record that is not yet active says what became of the others.
        *(state_write(old, records.STATE_INACTIVE) for old in plan.replaced),
        state_write(record, records.STATE_ACTIVE),
    ]
    step = Step(
        expected=[
            state_expected(record),
            *map(state_expected, plan.replaced),
            *((e.address, e.before) for e in entries),
            *((word.source, word.value) for word in plan.taken_over),
        ],
        writes=writes,
        quiet=_quiet_ranges(plan) if together else _interrupted_ranges(plan),
        still=[entry_range(e.address) for e in entries],
    )
    try:
        session.commit(step)
    except TargetRefusedError as error:
        # A stack that no thread is on was left by a call, not by a signal within those bytes.
        if together or error.reason != "hidden-stacks":
            raise
        session.commit(replace(step, quiet=()))


def _interrupted_ranges(plan: ApplyPlan) -> list[tuple[int, int]]:
    """Where a signal handler must not return to: behind the first instruction that is overwritten.
    A return address may equal a quiet range's end, hence the 4. A jump has no inside."""
    entries = plan.switching.entries
    return [(e.address + 1, e.address + 4) for e in entries if e.before[:1] != b"\xe9"]


def _quiet_ranges(plan: ApplyPlan) -> list[tuple[int, int]]:
    """The old functions, from behind their entries on, and all code of what is replaced."""
    ranges = []
    for redirect in plan.payload.redirects:
        entry, *rest = redirect.parts
        ranges.append((redirect.address + 1, entry.address + entry.size))
        ranges += [(part.address, part.address + part.size) for part in rest]
    for old in plan.replaced:
        ranges += old.ranges("code")
    return ranges


def _discard(session: Session, record: Record, plan: ApplyPlan) -> None:
    """Takes a prepared hotpatch back. No entry ever led into it, so nobody needs to be stopped,
    unless its own check has run there. What cannot be taken back now, the next visit finds."""
    try:
        session.remote.write(*state_write(record, records.STATE_INACTIVE))
        inactive = Record(record.address, records.STATE_INACTIVE, record.unwind, record.payload)
        if plan.hooks.pre_apply:
            why = reclaim(session, inactive, [])
        else:
            why = give_back(session, inactive)
    except NahtError as error:
        why = error.cause
    if why:
        session.notes.append(f"memory of {plan.payload.id} is kept: {why}")


def _reclaim_replaced(session: Session, old: Record, plan: ApplyPlan) -> None:
    inactive = Record(old.address, records.STATE_INACTIVE, old.unwind, old.payload)
    current = Record(
        plan.payload.regions[0].address, records.STATE_ACTIVE, records.UNWIND_NONE, plan.payload
    )
    if why := reclaim(session, inactive, [current]):
        session.notes.append(f"memory of {old.payload.id} is kept: {why}")
