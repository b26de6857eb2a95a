"""The type that the engine accepts: a hotpatch whose origin was judged.

Only the repository client may call `_seal` with a verified origin; until it exists, the only way is
`accept_unsigned`, which the command line reaches through `--unsigned-dev` alone and says in red.
"""

from __future__ import annotations

from typing import Final, Literal

from naht.hotpatch.container import HotpatchFile
from naht.hotpatch.manifest import Manifest

Origin = Literal["repository", "unsigned-dev"]

_SEAL: Final = object()


class VerifiedHotpatch:
    """Holds the very bytes that were verified: time of check is time of use."""

    __slots__ = ("_file", "origin")

    def __init__(self, file: HotpatchFile, origin: Origin, *, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("A VerifiedHotpatch is made by the repository client only.")
        self._file = file
        self.origin = origin

    @property
    def manifest(self) -> Manifest:
        return self._file.manifest

    @property
    def digest(self) -> str:
        return self._file.digest

    def image_bytes(self, member: str) -> bytes:
        return self._file.images[member]


def accept_unsigned(file: HotpatchFile) -> VerifiedHotpatch:
    """For development only: nobody vouches for these bytes."""
    return VerifiedHotpatch(file, "unsigned-dev", seal=_SEAL)
