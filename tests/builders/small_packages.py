"""Binary packages of a few files, written byte by byte so that they can also be malformed."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

FIELDS = {
    "Package": "small", "Version": "1.0-1", "Architecture": "amd64", "Maintainer": "n <n@n>",
    "Description": "small",
}  # fmt: skip


def member(path: str, content: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    return info, content


def hard_link(path: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info, b""


def symbolic_link(path: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def write_deb(
    path: Path,
    members: Sequence[tuple[tarfile.TarInfo, bytes]] | bytes,
    fields: Mapping[str, str] | None = None,
) -> Path:
    """`members`: of the package, or the raw bytes of its data.tar."""
    control = "".join(f"{k}: {v}\n" for k, v in {**FIELDS, **(fields or {})}.items())
    data = members if isinstance(members, bytes) else tar(members)
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar": tar([member("./control", control.encode())]),
        "data.tar": data,
    }
    path.write_bytes(static_archive(parts, end=""))
    return path


def static_archive(members: Mapping[str, bytes], end: str = "/") -> bytes:
    raw = b"!<arch>\n"
    for name, content in members.items():
        raw += f"{name + end:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        raw += content + b"\n" * (len(content) & 1)
    return raw


def elf(kind: int, build_id: bytes = b"") -> bytes:
    """An x86-64 ELF file with nothing but a build-id. kind: ET_…"""
    note = struct.pack("<III4s", 4, len(build_id), 3, b"GNU\0") + build_id if build_id else b""
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, kind, 62, 1, 0, 64, 0, 0, 64, 56, 1,
        64, 0, 0,
    )  # fmt: skip
    at = 64 + 56
    return header + struct.pack("<IIQQQQQQ", 4, 4, at, at, at, len(note), len(note), 4) + note
