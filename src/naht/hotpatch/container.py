"""Writes and reads the hotpatch file: a ZIP archive, stored and undated, so that the same inputs
give the same bytes and any `unzip` opens it.

Refuses (HostileInputError) compressed, encrypted, oversized, duplicate or unlisted members, and an
image that does not have the digest its manifest states. It judges no signature: see `verified`.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import msgspec

from naht.errors import HostileInputError, UsageError
from naht.hotpatch.manifest import SCHEMA, Manifest

MANIFEST_MEMBER = "manifest.json"
MAX_FILE_SIZE = 256 << 20
MAX_MANIFEST_SIZE = 64 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date ZIP can say


class HotpatchFile(msgspec.Struct, frozen=True):
    """A well-formed hotpatch whose origin is still unknown. `digest` is that of the whole file."""

    manifest: Manifest
    images: dict[str, bytes]
    digest: str


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def pack_hotpatch(manifest: Manifest, images: dict[str, bytes]) -> bytes:
    """The bytes of a hotpatch file. `images` maps member names to ELF relocatables."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, MANIFEST_MEMBER, encode_manifest(manifest))
        for name in sorted(images):
            _store(archive, name, images[name])
    return buffer.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def read_hotpatch(path: Path) -> HotpatchFile:
    """Reads the file once; what is returned is what was checked, whatever happens to the path."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > MAX_FILE_SIZE:
                raise _bad("it is larger than 256 MiB")
            data = stream.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", "Check the path.") from error
    return unpack_hotpatch(data)


def unpack_hotpatch(data: bytes) -> HotpatchFile:
    members = _read_members(data)
    manifest = _decode_manifest(members.pop(MANIFEST_MEMBER, b""))
    if sorted(members) != sorted(image.member for image in manifest.images):
        raise _bad("its members are not the ones that its manifest lists")
    for image in manifest.images:
        if hashlib.sha256(members[image.member]).hexdigest() != image.digest:
            raise _bad(f"{image.member} does not have the digest in the manifest")
    return HotpatchFile(manifest, members, hashlib.sha256(data).hexdigest())


def _read_members(data: bytes) -> dict[str, bytes]:
    if len(data) > MAX_FILE_SIZE:
        raise _bad("it is larger than 256 MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _checked_members(archive)
    # zipfile documents BadZipFile only, but raises these on crafted headers too.
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError,
            RuntimeError, KeyError, IndexError, OverflowError) as error:  # fmt: skip
        raise _bad("it is not a well-formed archive") from error


def _checked_members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > 16 or sum(entry.file_size for entry in entries) > MAX_FILE_SIZE:
        raise _bad("it has too many or too large members")
    if len({entry.filename for entry in entries}) != len(entries):
        raise _bad("it names a member twice")
    if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 0x1 for e in entries):
        raise _bad("a member is compressed or encrypted")
    return {entry.filename: archive.read(entry) for entry in entries}


def _decode_manifest(raw: bytes) -> Manifest:
    if not 0 < len(raw) <= MAX_MANIFEST_SIZE:
        raise _bad("it has no manifest of a sane size")
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HostileInputError(
            f"The manifest does not follow schema {SCHEMA}: {error}.",
            "Build the hotpatch again with this version of naht, or update naht.",
        ) from error


def _bad(why: str) -> HostileInputError:
    return HostileInputError(f"Not a hotpatch: {why}.", "Get the file again from its source.")
