"""Reads one binary package (.deb, .udeb): its control fields, and its regular files as a stream.

Refuses (HostileInputError) packages that are malformed, oversized, or whose members have names that
leave the root. It extracts nothing: who reads decides what is kept, and where.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from naht.errors import HostileInputError, ToolError

MAX_MEMBERS = 1 << 20
MAX_FILE_SIZE = 4 << 30
MAX_TOTAL_SIZE = 32 << 30
MAX_HEADER_SIZE = 1 << 20  # of the tar members that hold long names
MAX_FIELDS_SIZE = 1 << 20

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,200}")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]{1,200}")
_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_FIELDS = ("Package", "Version", "Architecture", "Source", "Built-Using", "Static-Built-Using")


@dataclass(frozen=True)
class BinaryPackage:
    file: Path
    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    built_using: tuple[str, ...]  # "source (= version)", of Built-Using and Static-Built-Using

    @property
    def is_udeb(self) -> bool:
        return self.file.suffix == ".udeb"

    @property
    def is_debug_symbols(self) -> bool:
        return self.name.endswith("-dbgsym")


@dataclass(frozen=True)
class Content:
    """Of one file in the stream."""

    stream: IO[bytes]
    package: Path

    def read(self, size: int) -> bytes:
        """Empty at the end of the file."""
        try:
            return self.stream.read(size)
        except (tarfile.TarError, OSError, ValueError) as error:
            raise _malformed(self.package, str(error)) from error


@dataclass(frozen=True)
class PackagedFile:
    """A regular file; `content` can be read until the next one is asked for."""

    path: str  # without a leading slash
    mode: int
    size: int
    content: Content | None  # None: a hard link to `same_as`
    same_as: str = ""


def read_package(file: Path) -> BinaryPackage:
    """The control fields."""
    fields = _read_fields(file)
    name, version = fields.get("Package", ""), fields.get("Version", "")
    source = _SOURCE.fullmatch(fields.get("Source") or name)
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version) or source is None:
        raise _malformed(file, "its control file names no package and version")
    used = f"{fields.get('Built-Using', '')},{fields.get('Static-Built-Using', '')}"
    return BinaryPackage(
        file, name, version, fields.get("Architecture", ""), source[1], source[2] or version,
        tuple(dict.fromkeys(part.strip() for part in used.split(",") if part.strip())),
    )  # fmt: skip


def _read_fields(file: Path) -> dict[str, str]:
    with _dpkg_deb(["--field", str(file), *_FIELDS]) as process:
        assert process.stdout is not None  # noqa: S101  it was asked for
        raw = process.stdout.read(MAX_FIELDS_SIZE + 1)
        if len(raw) > MAX_FIELDS_SIZE:
            process.kill()
            raise _malformed(file, "its control file is larger than 1 MiB")
    if process.returncode:
        raise _malformed(file, "dpkg-deb can't read it")
    return _parse_fields(raw.decode(errors="backslashreplace"))


def _parse_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def read_files(package: BinaryPackage) -> Iterator[PackagedFile]:
    """Every regular file in order, and hard links to earlier ones."""
    file = package.file
    with _dpkg_deb(["--fsys-tarfile", str(file)]) as process:
        assert process.stdout is not None  # noqa: S101  it was asked for
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|", tarinfo=_Header) as archive:
                yield from _bounded(archive, file)
            while process.stdout.read(1 << 16):  # the padding behind the archive
                pass
            if process.wait():
                raise _malformed(file, "dpkg-deb can't read all of it")
        except (tarfile.TarError, OSError, ValueError, ArithmeticError, RecursionError) as error:
            raise _malformed(file, str(error)) from error
        finally:
            process.kill()


def _bounded(archive: tarfile.TarFile, file: Path) -> Iterator[PackagedFile]:
    total = count = 0
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them
        total, count = total + member.size, count + 1
        if count > MAX_MEMBERS or member.size > MAX_FILE_SIZE or total > MAX_TOTAL_SIZE:
            raise _malformed(file, "it holds too much")
        if member.size < 0 or member.issparse():
            raise _malformed(file, "a member's size is not what it holds")
        path = _inside(member.name, file)
        if member.islnk():
            same_as = _inside(member.linkname, file)
            yield PackagedFile(path, member.mode, 0, None, same_as)
        elif member.isreg() and (stream := archive.extractfile(member)):
            yield PackagedFile(path, member.mode, member.size, Content(stream, file))


def _inside(name: str, file: Path) -> str:
    path = name.removeprefix("./").rstrip("/")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise _malformed(file, f"member {name[:200]!r} leaves the root")
    return path


class _Header(tarfile.TarInfo):
    """Refuses what would make the reader hold much, or invent content that is not there."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise ValueError("sparse member")
        if header.size < 0:
            raise ValueError("negative size")
        if header.type not in tarfile.REGULAR_TYPES and header.size > MAX_HEADER_SIZE:
            raise ValueError("member header larger than 1 MiB")
        return header


def _dpkg_deb(arguments: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["dpkg-deb", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ToolError("dpkg-deb is not installed.", "Install dpkg.") from error


def _malformed(file: Path, what: str) -> HostileInputError:
    return HostileInputError(
        f"The package {file.name} is malformed: {what}.", "Get it again from the archive."
    )
