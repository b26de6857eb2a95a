"""The type that the engine accepts: a hotpatch whose origin was judged.

There are two ways to one, and a test holds who may go them: `accept_from_repository` is for the
repository's client, `accept_unsigned` for the command line, behind `--unsigned-dev` and in red.
"""

from __future__ import annotations

from typing import Final, Literal

from naht.errors import UntrustedError
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


def accept_from_repository(file: HotpatchFile, signed_digest: str) -> VerifiedHotpatch:
    """`signed_digest`: what the repository's signed metadata say of the whole file. Compared here
    once more, with the digest of the very bytes that the engine will get."""
    if not signed_digest or file.digest != signed_digest:
        raise UntrustedError(
            "altered", f"{file.manifest.id} is not what the repository signed.", "Try again."
        )
    return VerifiedHotpatch(file, "repository", seal=_SEAL)


def accept_unsigned(file: HotpatchFile) -> VerifiedHotpatch:
    """For development only: nobody vouches for these bytes."""
    return VerifiedHotpatch(file, "unsigned-dev", seal=_SEAL)
