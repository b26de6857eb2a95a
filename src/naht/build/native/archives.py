"""Reads static libraries (ar): the members, by name.

Refuses what is malformed or oversized. Thin archives are followed to the files they name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from naht.errors import HostileInputError

MAX_ARCHIVE_SIZE = 2 << 30
MAX_MEMBERS = 1 << 18
_HEADER = 60


@dataclass(frozen=True)
class Member:
    name: str
    content: bytes


def read_archive(copy: Path, original: Path) -> tuple[Member, ...]:
    """The object members in order. `original` is where the archive was, for thin ones."""
    if copy.stat().st_size > MAX_ARCHIVE_SIZE:
        raise _malformed(original, "larger than 2 GiB")
    data = copy.read_bytes()
    thin = data.startswith(b"!<thin>\n")
    if not thin and not data.startswith(b"!<arch>\n"):
        raise _malformed(original, "no archive magic")
    members: list[Member] = []
    names, at = b"", 8
    while at + _HEADER <= len(data):
        field, size = _header(data, at, original)
        at += _HEADER
        special = field in (b"/", b"//", b"/SYM64/")
        body = b"" if thin and not special else data[at : at + size]
        if len(body) != size and not (thin and not special):
            raise _malformed(original, "a member leaves the file")
        if field == b"//":
            names = body
        elif not special:
            name = _name(field, names, original)
            content = _thin_content(original, name) if thin else body
            members.append(Member(name.rsplit("/", 1)[-1] if thin else name, content))
        at += len(body) + (len(body) & 1)
        if len(members) > MAX_MEMBERS:
            raise _malformed(original, "too many members")
    return tuple(members)


def _header(data: bytes, at: int, archive: Path) -> tuple[bytes, int]:
    header = data[at : at + _HEADER]
    size = header[48:58].strip()
    if header[58:] != b"`\n" or not size.isdigit():
        raise _malformed(archive, f"bad member header at {at:#x}")
    return header[:16].rstrip(), int(size)


def _name(field: bytes, names: bytes, archive: Path) -> str:
    """GNU form: "name/" or "/offset" into the table of long names."""
    if field.startswith(b"/") and field[1:].isdigit():
        start = int(field[1:])
        end = names.find(b"/\n", start)
        if end < 0:
            raise _malformed(archive, "a member's name leaves the table")
        return os.fsdecode(names[start:end])
    return os.fsdecode(field.removesuffix(b"/"))


def _thin_content(archive: Path, name: str) -> bytes:
    path = archive.parent / name
    if not path.is_file() or path.stat().st_size > MAX_ARCHIVE_SIZE:
        raise _malformed(archive, f"thin member {name} is missing")
    return path.read_bytes()


def _malformed(archive: Path, what: str) -> HostileInputError:
    return HostileInputError(f"The static library {archive} is malformed: {what}.", "Rebuild it.")
