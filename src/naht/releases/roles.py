"""Names in the signed repository: channels, roles, targets. Pure; publisher and client share it.

Each channel is a delegation of the top-level targets role, each product in it one of the channel's,
and a product that has grown is spread over hashed bins. Refuses names that could be read as a
pattern, a path or another role.
"""

from __future__ import annotations

import re
from typing import Final

from naht.errors import UsageError
from naht.hotpatch.manifest import BuildIdText

CHANNELS: Final = ("candidate", "pilot", "broad")
"""In the order in which a hotpatch goes through them."""

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
ONLINE: Final = (SNAPSHOT, TIMESTAMP)

SEPARATOR = "_"  # of the parts of a role's name; no channel and no product has one in its own
_PRODUCT = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")  # as in naht.domain.release; no fnmatch signs
_MAX_PRODUCT = 64
_HOTPATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")  # as in a hotpatch's manifest

HOTPATCH_SUFFIX = ".naht"
PROVENANCE_SUFFIX = ".provenance.json"
WITHDRAWN_SUFFIX = ".withdrawn.json"
OBJECT_SUFFIX = ".object.json"

POLICY_TARGET = "policy.json"
"""A target of the top-level role itself: who may build, and what each channel demands."""


def check_channel(name: str) -> str:
    if name not in CHANNELS:
        raise UsageError(f"There is no channel {name!r}.", f"Channels are {', '.join(CHANNELS)}.")
    return name


def check_product(name: str) -> str:
    if len(name) > _MAX_PRODUCT or not _PRODUCT.fullmatch(name):
        raise UsageError(
            f"{name!r} is no product name.",
            "Use at most 64 lower-case letters and digits, with single hyphens or dots between.",
        )
    return name


def check_hotpatch_id(name: str) -> str:
    if not _HOTPATCH_ID.fullmatch(name):
        raise UsageError(
            f"{name!r} is no hotpatch id.", "`naht inspect FILE` shows the id of a hotpatch file."
        )
    return name


def previous_channel(channel: str) -> str:
    """Where a hotpatch must be before it comes here; "" for the first one."""
    position = CHANNELS.index(check_channel(channel))
    return CHANNELS[position - 1] if position else ""


def channel_paths(channel: str) -> list[str]:
    return [f"{channel}/*/*"]


def product_role(channel: str, product: str) -> str:
    return check_channel(channel) + SEPARATOR + check_product(product)


def product_paths(channel: str, product: str) -> list[str]:
    return [f"{channel}/{product}/*"]


def bins_prefix(channel: str, product: str, bits: int) -> str:
    """Names the width, because bins of another width are other roles with versions of their own."""
    return f"{product_role(channel, product)}{SEPARATOR}{bits}"


def parent_of(role: str) -> str:
    """Who delegates to a role; "" for root, which vouches for itself."""
    if role == ROOT:
        return ""
    if role in (TARGETS, *ONLINE):
        return ROOT
    above, separator, _ = role.rpartition(SEPARATOR)
    return above if separator else TARGETS


MOST_TARGETS = 128
"""In one role: some 40 KB, which a host loads again when one of them changes."""


def more_bits(bits: int) -> int:
    """The next width of bins: eight times as many. 4096 bins hold half a million targets."""
    return min(bits + 3, 12)


def hotpatch_path(channel: str, product: str, hotpatch: str) -> str:
    return _path(channel, product, check_hotpatch_id(hotpatch) + HOTPATCH_SUFFIX)


def provenance_path(channel: str, product: str, hotpatch: str) -> str:
    return _path(channel, product, check_hotpatch_id(hotpatch) + PROVENANCE_SUFFIX)


def withdrawn_path(channel: str, product: str, hotpatch: str) -> str:
    return _path(channel, product, check_hotpatch_id(hotpatch) + WITHDRAWN_SUFFIX)


def object_path(channel: str, product: str, build_id: BuildIdText) -> str:
    """Lists the hotpatches for one build-id: a host finds them without a whole catalogue."""
    return _path(channel, product, build_id + OBJECT_SUFFIX)


def _path(channel: str, product: str, name: str) -> str:
    return f"{check_channel(channel)}/{check_product(product)}/{name}"
