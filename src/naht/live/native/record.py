"""The record that a hotpatch carries in its target's own memory: how it is written and read back.

Layout of the record mapping: a fixed header of 128 bytes, then the payload (JSON), then zeros. The
header's state and unwind fields change over time; the payload never does, and has a digest.
Whatever is read back is hostile: this module refuses what is not a whole, well-formed record. It
does no I/O, and it does not judge whether a record tells the truth (see `status`).
"""

from __future__ import annotations

import hashlib
import struct
from typing import Annotated, Literal

import msgspec

from naht.domain.package import ShippedVersion
from naht.errors import HostileInputError
from naht.hotpatch.manifest import BuildIdText, Consistency, Digest, Escape, HotpatchId, Name

MAGIC = b"NAHTREC\x01"
HEADER_SIZE = 128
STATE_OFFSET, UNWIND_STATE_OFFSET, UNWIND_OFFSET = 12, 16, 64
UNWIND_SIZE = 64  # room for libgcc's `struct object` (48 bytes in GCC 4 to 15)
MAX_RECORD_SIZE = 16 << 20

STATE_READY, STATE_ACTIVE, STATE_INACTIVE = 1, 2, 3
UNWIND_NONE, UNWIND_REGISTERING, UNWIND_REGISTERED, UNWIND_REMOVING = 0, 1, 2, 3

JUMP_OPCODE = 0xE9

_HEADER = struct.Struct("<8sIIQQ32s")
Address = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Length = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
EntryBytes = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{10}\Z")]  # five, as a jump has
Between = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{10})?\Z")]
RegionKind = Literal["record", "rodata", "code", "data"]


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One mapping of the arena. `digest` is of the content as written, "" where it may change."""

    kind: RegionKind
    address: Address
    size: Length
    digest: str = ""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: Address
    size: Length


class Redirect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One replaced function. `original` and `jump` are the bytes at `address`, before and after."""

    name: Name
    address: Address  # where the jump is written
    original: EntryBytes
    jump: EntryBytes
    parts: tuple[Range, ...]  # the old code, entry part first
    new_address: Address
    new_size: Length
    displaced: Address = 0  # runs the old function from its first instruction; 0: there is none
    between: Between = ""  # the jump that stands here while a set is reverted; "" where none does


class HandedOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word of its data whose value a successor takes over."""

    name: Name
    address: Address


class EntryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What applying does to one entry: five bytes before, in between (a jump to a trampoline that
    still runs what ran before, or "" where none is needed), and after."""

    address: Address
    before: EntryBytes
    between: Between
    after: EntryBytes


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: HotpatchId
    digest: Digest
    level: int
    supersedes: tuple[str, ...]
    advisories: tuple[str, ...]
    severity: str
    build_id: BuildIdText
    object_path: str
    bias: Address
    consistency: Consistency
    escapes: Escape
    regions: tuple[Region, ...]
    redirects: tuple[Redirect, ...]
    changes: tuple[EntryChange, ...]
    pivot: Address = 0  # the entry whose own store switches the whole set; 0: each for itself
    revert_pivot: Address = 0  # the same for the way back
    unwind_frames: Address = 0  # .eh_frame in the arena; 0: not registered
    brings_to: tuple[ShippedVersion, ...] = ()  # as the manifest has it; for reports only
    hands_over: tuple[HandedOver, ...] = ()
    pre_revert: Address = 0  # stub that calls the hook and stores its result; 0: no hook
    hook_result: Address = 0  # where such a stub stores the result, 8 bytes
    engine: str


class Record(msgspec.Struct, frozen=True):
    address: int
    state: int
    unwind: int  # one of UNWIND_…: what is known of its registration with the unwinder
    payload: Payload

    @property
    def start(self) -> int:
        return self.payload.regions[0].address

    @property
    def end(self) -> int:
        return max(r.address + r.size for r in self.payload.regions)

    def ranges(self, kind: RegionKind) -> list[tuple[int, int]]:
        return [(r.address, r.address + r.size) for r in self.payload.regions if r.kind == kind]


def encode_record(payload: Payload, state: int) -> bytes:
    body = msgspec.json.encode(payload)
    header = _HEADER.pack(MAGIC, 1, state, 0, len(body), hashlib.sha256(body).digest())
    return header.ljust(HEADER_SIZE, b"\0") + body


def payload_size(header: bytes) -> int:
    """The payload's size by a header, so that the caller knows how much to read."""
    if len(header) < HEADER_SIZE or header[:8] != MAGIC:
        raise _malformed("no record magic")
    size = int(_HEADER.unpack_from(header)[4])
    if not 0 < size <= MAX_RECORD_SIZE - HEADER_SIZE:
        raise _malformed("impossible payload size")
    return size


def decode_record(address: int, data: bytes) -> Record:
    """`data`: the record mapping from its start, at least header and payload."""
    size = payload_size(data[:HEADER_SIZE])
    _magic, version, state, unwind, _size, digest = _HEADER.unpack_from(data)
    body = data[HEADER_SIZE : HEADER_SIZE + size]
    if version != 1:
        raise _malformed(f"record version {version}")
    if len(body) != size or hashlib.sha256(body).digest() != digest:
        raise _malformed("payload digest")
    try:
        payload = msgspec.json.decode(body, type=Payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(str(error)) from error
    _check_regions(address, payload)
    _check_redirects(payload)
    _check_handed_over(payload)
    return Record(address, state, unwind & 0xFFFFFFFF, payload)


def _check_regions(address: int, payload: Payload) -> None:
    """The arena is one range that starts with the record, so that it can be given back whole."""
    at = address
    for region in payload.regions:
        if region.address != at or region.size % 4096 or not region.size:
            raise _malformed("its regions are not side by side")
        at += region.size
    if not payload.regions or payload.regions[0].kind != "record" or at >= 1 << 47:
        raise _malformed("its regions do not start with the record")


def _check_redirects(payload: Payload) -> None:
    """What a record says must at least be a hotpatch: jumps into code of its own, which has a
    digest. A process can lie about itself, but not by leaving out what would be looked at."""
    code = [r for r in payload.regions if r.kind == "code"]
    if not payload.redirects or any(not region.digest for region in code):
        raise _malformed("it names nothing that could be checked")
    for redirect in payload.redirects:
        jump = bytes.fromhex(redirect.jump)
        target = redirect.address + 5 + int.from_bytes(jump[1:], "little", signed=True)
        inside = any(0 <= target - region.address < region.size for region in code)
        if jump[0] != JUMP_OPCODE or target != redirect.new_address or not inside:
            raise _malformed("a jump that does not lead into it")


def _check_handed_over(payload: Payload) -> None:
    """Only words of its own data: a successor reads them."""
    data = [range(r.address, r.address + r.size - 7) for r in payload.regions if r.kind == "data"]
    if not all(any(word.address in place for place in data) for word in payload.hands_over):
        raise _malformed("it hands over what is not its own")


def _malformed(why: str) -> HostileInputError:
    return HostileInputError(
        f"The hotpatch record in the process is malformed: {why}.",
        "Treat the process as altered: restart it at the next chance.",
    )
