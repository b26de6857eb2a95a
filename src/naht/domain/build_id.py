"""The identity of an ELF object: the GNU build-id, and nothing weaker (no path, no version)."""

from __future__ import annotations

import re
from typing import NewType

from naht.errors import HostileInputError

BuildId = NewType("BuildId", str)  # lower-case hex, 4 to 64 bytes long

_FORM = re.compile(r"[0-9a-f]{8,128}")


def parse_build_id(text: str) -> BuildId:
    """The build-id written as lower-case hex. Raises HostileInputError for anything else."""
    if not _FORM.fullmatch(text) or len(text) % 2:
        raise HostileInputError(
            f"{text[:80]!r} is not a build-id.",
            "Give the hex string that `readelf -n FILE` prints.",
        )
    return BuildId(text)


def build_id_from_bytes(raw: bytes) -> BuildId:
    return parse_build_id(raw.hex())
