"""Plans an apply as data: what memory to take, what to put there, which entries change and how.

Pure, given what was read from the process. It computes everything while the target runs, so that
under stop nothing is left but to compare and to store. Refuses (TargetRefusedError) what cannot be
linked or switched; it writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from naht import __version__
from naht.domain.process import LoadedObject
from naht.errors import TargetRefusedError, ToolError
from naht.hotpatch.image import HotpatchImage
from naht.hotpatch.manifest import Function, Image, Manifest
from naht.live.native import handover
from naht.live.native import record as records
from naht.live.native.arena import PAGE, ArenaLayout, RegionLayout, find_place, lay_out
from naht.live.native.linking import ResolveBinding, jump_bytes, link_region, resolve_symbols
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping
from naht.live.native.record import (
    EntryChange,
    Payload,
    Range,
    Record,
    Redirect,
    Region,
    RegionKind,
)
from naht.live.native.switching import (
    JUMP_SIZE,
    Entry,
    StubArea,
    Switching,
    hook_stub,
    plan_switching,
)

HOOK_STUBS = 3


class HookAddresses(msgspec.Struct, frozen=True):
    """Stubs that call a hook and store its result; 0 where there is no hook."""

    pre_apply: int
    post_apply: int
    pre_revert: int
    result: int


class ApplyPlan(msgspec.Struct, frozen=True):
    """`payload` says where each region goes, `contents` what goes there."""

    payload: Payload
    contents: dict[RegionKind, bytes]
    switching: Switching
    replaced: tuple[Record, ...]
    hooks: HookAddresses
    taken_over: tuple[handover.TakenOver, ...]


class PlanInput(msgspec.Struct, frozen=True):
    """What was read: the image and its manifest, one instance of the object, its active records."""

    manifest: Manifest
    digest: str
    image: Image
    view: HotpatchImage
    object: LoadedObject
    replaced: tuple[Record, ...]

    @property
    def together(self) -> bool:
        return self.manifest.consistency == "quiescent"


def plan_apply(
    given: PlanInput, memory: TargetMemory, maps: Sequence[Mapping], resolve: ResolveBinding
) -> ApplyPlan:
    """Lay out → place → link → switch → describe."""
    changed = [f for f in given.image.functions if f.change == "changed"]
    restored = _entries_to_restore(given, changed)
    layout = lay_out(given.view, _record_room(given), 2 * len(changed) + len(restored) + HOOK_STUBS)
    base = find_place(maps, given.object.start, given.object.end, layout.size)
    addresses = resolve_symbols(given.view, layout, base, given.image.bindings, resolve)
    stubs = StubArea(base + layout.stubs)
    hooks = _plan_hooks(given, addresses, stubs, base + layout.regions[0].size - 8)
    entries = _entries_to_redirect(given, changed, addresses) + restored
    _check_entries(entries, memory)
    forth = plan_switching(entries, given.together, stubs)
    back = plan_switching(_way_back(given, changed, addresses), given.together, stubs)
    handed = handover.hands_over(given.image.hands_over, addresses)
    taken = handover.take_over(handed, given.replaced, memory.read)
    contents = _link_contents(given, layout, base, addresses, stubs, taken)
    payload = _describe(given, layout, base, contents, hooks)
    payload = msgspec.structs.replace(payload, hands_over=handed)
    payload = _describe_switching(payload, given, changed, addresses, forth, back)
    contents["record"] = _encode(payload, layout)
    return ApplyPlan(payload, contents, forth, given.replaced, hooks, taken)


def _record_room(given: PlanInput) -> int:
    """An upper bound of the record's size, which depends on addresses not known yet."""
    functions = sum(1024 + 6 * len(f.name) + 96 * len(f.parts) for f in given.image.functions)
    replaced = sum(512 * len(r.payload.redirects) for r in given.replaced)
    texts = len(msgspec.json.encode((given.manifest.advisories, given.manifest.supersedes)))
    texts += sum(64 + 6 * len(name) for name in given.image.hands_over)
    return 2048 + functions + replaced + texts + 6 * len(given.object.path)


def _encode(payload: Payload, layout: ArenaLayout) -> bytes:
    content = records.encode_record(payload, records.STATE_READY)
    room = layout.regions[0].size - 8
    if len(content) > room:
        raise ToolError(
            f"The record takes {len(content)} bytes where {room} were planned.",
            "Report this with the hotpatch; nothing was touched.",
        )
    return content


def _plan_hooks(
    given: PlanInput, addresses: dict[str, int], stubs: StubArea, result: int
) -> HookAddresses:
    def stub(name: str) -> int:
        return stubs.add(hook_stub(stubs.next, addresses[name], result)) if name else 0

    hooks = given.image.hooks
    return HookAddresses(
        stub(hooks.pre_apply), stub(hooks.post_apply), stub(hooks.pre_revert), result
    )


# --- entries ---------------------------------------------------------------------------------


def _entries_to_redirect(
    given: PlanInput, changed: Sequence[Function], addresses: dict[str, int]
) -> list[Entry]:
    active = {r.address: r for record in given.replaced for r in record.payload.redirects}
    entries = []
    for function in changed:
        at, new = given.object.bias + function.redirect, addresses[function.name]
        older = active.get(at)
        before = bytes.fromhex(older.jump) if older else _original(given, function)
        old_way = older.new_address if older else addresses.get(function.displaced, 0)
        entries.append(Entry(function.name, at, before, jump_bytes(at, new), old_way, new))
    return entries


def _entries_to_restore(given: PlanInput, changed: Sequence[Function]) -> list[Entry]:
    """Those that only an older hotpatch redirects: they get their original code back."""
    own = {given.object.bias + f.redirect for f in changed}
    return [
        Entry(
            r.name, r.address, bytes.fromhex(r.jump), bytes.fromhex(r.original)[:JUMP_SIZE],
            r.new_address, r.displaced,
        )
        for record in given.replaced
        for r in record.payload.redirects
        if r.address not in own
    ]  # fmt: skip


def _way_back(
    given: PlanInput, changed: Sequence[Function], addresses: dict[str, int]
) -> list[Entry]:
    """A revert goes to the original code, never to a predecessor."""
    entries = []
    for function in changed:
        at, new = given.object.bias + function.redirect, addresses[function.name]
        original, displaced = _original(given, function), addresses.get(function.displaced, 0)
        entries.append(Entry(function.name, at, jump_bytes(at, new), original, new, displaced))
    return entries


def _original(given: PlanInput, function: Function) -> bytes:
    entry = function.parts[0]
    skip = function.redirect - entry.offset
    return given.view.old_code[entry.section][skip : skip + JUMP_SIZE]


def _check_entries(entries: Sequence[Entry], memory: TargetMemory) -> None:
    for entry in entries:
        if entry.address % PAGE > PAGE - JUMP_SIZE:
            raise TargetRefusedError(
                "entry-crosses-page",
                f"The entry of {entry.name} crosses a page, so it cannot be stored at once.",
                "Restart the process with the fixed object on disk.",
            )
        check_bytes(memory, entry.name, entry.address, entry.before)


def check_bytes(memory: TargetMemory, name: str, address: int, expected: bytes) -> None:
    """Refuses, naming the first byte of `name` that is not as expected."""
    found = memory.read(address, len(expected))
    if found == expected:
        return
    skip = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
    raise TargetRefusedError(
        "altered-code",
        f"{name} was altered in memory: at {address + skip:#x} there is "
        f"{found[skip : skip + 8].hex(' ')} where {expected[skip : skip + 8].hex(' ')} belongs.",
        "Find out who changed it (a debugger, a tracer, another patching tool); "
        "restart the process with the fixed object on disk.",
        where=f"{address + skip:#x}",
    )


# --- content and record ----------------------------------------------------------------------


def _link_contents(
    given: PlanInput, layout: ArenaLayout, base: int, addresses: dict[str, int], stubs: StubArea,
    taken: tuple[handover.TakenOver, ...],
) -> dict[RegionKind, bytes]:  # fmt: skip
    contents: dict[RegionKind, bytes] = {}
    for region in layout.regions[1:]:
        content = link_region(given.view, layout, region, base, addresses)
        if region.kind == "code":
            at = layout.stubs - region.offset
            content[at : at + len(stubs.content)] = stubs.content
        elif region.kind == "data":
            handover.fill(content, base + region.offset, taken)
        contents[region.kind] = bytes(content)
    return contents


def _describe(
    given: PlanInput, layout: ArenaLayout, base: int, contents: dict[RegionKind, bytes],
    hooks: HookAddresses,
) -> Payload:  # fmt: skip
    manifest = given.manifest
    frames = layout.sections.get(".eh_frame")
    return Payload(
        id=manifest.id, digest=given.digest, level=manifest.level,
        supersedes=manifest.supersedes, advisories=manifest.advisories,
        brings_to=manifest.brings_to,
        severity=manifest.severity, build_id=given.object.build_id,
        object_path=given.object.path, bias=given.object.bias,
        consistency=manifest.consistency, escapes=given.image.escapes,
        regions=tuple(_describe_region(r, base, contents) for r in layout.regions),
        redirects=(), changes=(), unwind_frames=0 if frames is None else base + frames,
        pre_revert=hooks.pre_revert, hook_result=hooks.result, engine=__version__,
    )  # fmt: skip


def _describe_region(region: RegionLayout, base: int, contents: dict[RegionKind, bytes]) -> Region:
    fixed = region.kind in ("rodata", "code")
    digest = hashlib.sha256(contents[region.kind]).hexdigest() if fixed else ""
    return Region(region.kind, base + region.offset, region.size, digest)


def _describe_switching(
    payload: Payload, given: PlanInput, changed: Sequence[Function], addresses: dict[str, int],
    forth: Switching, back: Switching,
) -> Payload:  # fmt: skip
    changes = tuple(
        EntryChange(
            address=e.address, before=e.before.hex(), between=between.hex(), after=e.after.hex()
        )
        for e, between in zip(forth.entries, forth.between, strict=True)
    )
    redirects = tuple(
        _describe_redirect(given, function, addresses, between)
        for function, between in zip(changed, back.between, strict=True)
    )
    return msgspec.structs.replace(
        payload, redirects=redirects, changes=changes, pivot=forth.pivot, revert_pivot=back.pivot
    )


def _describe_redirect(
    given: PlanInput, function: Function, addresses: dict[str, int], between: bytes
) -> Redirect:
    bias = given.object.bias
    at, new = bias + function.redirect, addresses[function.name]
    return Redirect(
        name=function.name, address=at, original=_original(given, function).hex(),
        jump=jump_bytes(at, new).hex(),
        parts=tuple(Range(bias + p.offset, p.size) for p in function.parts),
        new_address=new, new_size=function.new_size,
        displaced=addresses.get(function.displaced, 0), between=between.hex(),
    )  # fmt: skip
