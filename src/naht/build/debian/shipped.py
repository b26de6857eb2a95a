"""What binary packages ship that holds machine code: every linked object (programs, libraries,
plugins), static archives and relocatables, and the debug files of -dbgsym packages.

    read_shipped(debs, into) -> Shipped        debs: .deb and .udeb files; copies of what is found
                                               go below `into`, named by their content
    Shipped.objects        tuple[ShippedObject, ...]
    Shipped.packages       tuple[BinaryPackage, ...]
    Shipped.debug_files    {build-id: path}
    ShippedObject          package, path, kind, build_id, file, privileged; .name "package:path"

Refuses malformed packages. Files that only look like code are listed as kind "foreign": an ELF file
of another machine, or one whose headers can't be read.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Literal

from naht.build.debian.binary_package import (
    BinaryPackage,
    Content,
    PackagedFile,
    read_files,
    read_package,
)
from naht.domain.build_id import BuildId
from naht.elf import constants as c
from naht.elf.file import ElfFile, find_build_id
from naht.errors import HostileInputError

Kind = Literal["object", "archive", "relocatable", "debug", "foreign"]
"""object: an executable or library that can be loaded."""

_ARCHIVE_MAGIC = b"!<arch>\n"
_DEBUG_FILES = "usr/lib/debug/"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ShippedObject:
    package: str
    path: str  # without a leading slash: "usr/sbin/nginx"
    kind: Kind
    build_id: BuildId | None
    file: Path  # a copy
    privileged: bool = False  # set-user-id or set-group-id

    @property
    def name(self) -> str:
        return f"{self.package}:{self.path}"


@dataclass(frozen=True)
class Shipped:
    packages: tuple[BinaryPackage, ...]
    files: tuple[ShippedObject, ...]

    @property
    def objects(self) -> tuple[ShippedObject, ...]:
        return tuple(f for f in self.files if f.kind == "object")

    @property
    def debug_files(self) -> dict[BuildId, Path]:
        return {f.build_id: f.file for f in self.files if f.kind == "debug" and f.build_id}


def read_shipped(debs: Iterable[Path], into: Path) -> Shipped:
    into.mkdir(parents=True, exist_ok=True)
    packages = tuple(read_package(deb) for deb in sorted(debs))
    return Shipped(packages, tuple(f for p in packages for f in _code_files(p, into)))


def read_installed(package: str, files: Iterable[Path], into: Path) -> Iterator[ShippedObject]:
    """The same of a package's files as they lie on this host; links are no files of their own."""
    into.mkdir(parents=True, exist_ok=True)
    for path in files:
        with suppress(OSError), path.open("rb") as stream:
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_size > len(_ARCHIVE_MAGIC):
                file = PackagedFile(str(path).lstrip("/"), facts.st_mode, facts.st_size, None)
                if kept := _kept(package, file, Content(stream, path), into):
                    yield kept


def _code_files(package: BinaryPackage, into: Path) -> Iterator[ShippedObject]:
    found: dict[str, ShippedObject] = {}
    for file in read_files(package):
        shipped = _linked_again(file, found) if file.content is None else None
        if file.content is not None and _may_hold_code(file):
            shipped = _kept(package.name, file, file.content, into)
        if shipped is not None:
            found[file.path] = shipped
    yield from found.values()


def _linked_again(file: PackagedFile, found: dict[str, ShippedObject]) -> ShippedObject | None:
    original = found.get(file.same_as)
    return replace(original, path=file.path) if original else None


def _may_hold_code(file: PackagedFile) -> bool:
    return file.size > len(_ARCHIVE_MAGIC)


def _kept(package: str, file: PackagedFile, content: Content, into: Path) -> ShippedObject | None:
    start = content.read(len(_ARCHIVE_MAGIC))
    is_archive = start == _ARCHIVE_MAGIC and file.path.endswith(".a")
    if not is_archive and not start.startswith(c.ELF_MAGIC):
        return None
    copy = _copy(start, content, into, PurePosixPath(file.path).name)
    kind, build_id = ("archive", None) if is_archive else _identity(copy, file.path)
    privileged = bool(file.mode & (stat.S_ISUID | stat.S_ISGID))
    return ShippedObject(package, file.path, kind, build_id, copy, privileged)


def _copy(start: bytes, content: Content, into: Path, name: str) -> Path:
    """Content decides the place, so no two different files can meet there."""
    digest = hashlib.sha256()
    with NamedTemporaryFile(dir=into, delete=False) as stream:
        chunk = start
        while chunk:
            digest.update(chunk)
            stream.write(chunk)
            chunk = content.read(_CHUNK)
    place = into / digest.hexdigest()[:32] / name
    place.parent.mkdir(exist_ok=True)
    return Path(stream.name).rename(place)


def _identity(file: Path, path: str) -> tuple[Kind, BuildId | None]:
    try:
        elf = ElfFile(file.read_bytes())
        if path.startswith(_DEBUG_FILES):
            return "debug", _noted_build_id(elf)
        if elf.type in (c.ET_EXEC, c.ET_DYN) and elf.segments:
            return "object", elf.build_id
    except HostileInputError:
        return "foreign", None
    return ("relocatable" if elf.type == c.ET_REL else "foreign"), None


def _noted_build_id(elf: ElfFile) -> BuildId | None:
    """By its section: what the segments of a debug file tell is not in the file."""
    section = elf.section_by_name.get(".note.gnu.build-id")
    return find_build_id(elf.section_bytes(section)) if section else None
