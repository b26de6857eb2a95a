"""The small JSON targets that stand beside hotpatches in the repository, as types.

Decoding refuses anything unknown or too large: whoever holds a channel's key can sign any bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from naht.errors import HostileInputError
from naht.hotpatch.manifest import BuildIdText, Digest, Frozen, HotpatchId, Name, Text

MAX_RECORD_SIZE = 1 << 20
Level = Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]


class Offer(Frozen, frozen=True, kw_only=True):
    """A hotpatch for the object, by its id; `digest` is that of the whole file."""

    id: HotpatchId
    level: Level
    digest: Digest


class ObjectRecord(Frozen, frozen=True, kw_only=True):
    """What a channel has for one build-id."""

    build_id: BuildIdText
    hotpatches: Annotated[tuple[Offer, ...], msgspec.Meta(max_length=1000)]
    schema: Literal["naht.object/1"] = "naht.object/1"


class Withdrawal(Frozen, frozen=True, kw_only=True):
    """Stands where a hotpatch stood. An id that was withdrawn is never used again."""

    id: HotpatchId
    digest: Digest
    reason: Text
    withdrawn: Name  # when, in ISO 8601
    schema: Literal["naht.withdrawal/1"] = "naht.withdrawal/1"


Record = TypeVar("Record", bound=Frozen)


def encode_record(record: Frozen) -> bytes:
    return msgspec.json.encode(record, order="deterministic")


def decode_record(raw: bytes, kind: type[Record]) -> Record:
    if len(raw) > MAX_RECORD_SIZE:
        raise HostileInputError(
            f"A record of the repository has {len(raw)} bytes.", "Tell who runs the repository."
        )
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HostileInputError(
            f"A record of the repository is not of a known form: {error}.",
            "Update naht, or tell who runs the repository.",
        ) from error
