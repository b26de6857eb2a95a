"""Which package owns a file, by dpkg's own database in one root.

The database may be a container's, so it is as hostile as any input: every file is bounded, and
nothing in it leads to another file. It never runs dpkg and waits for no lock; a package that is
half unpacked just now has no version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

import msgspec

from naht.domain.package import Package
from naht.live.native.disk import open_below, resolve_below

STATUS = "/var/lib/dpkg/status"
UPDATES = "/var/lib/dpkg/updates"
LISTS = "/var/lib/dpkg/info"
DIVERSIONS = "/var/lib/dpkg/diversions"
MAX_STATUS = 128 << 20
MAX_LIST = 32 << 20
MAX_LISTS_IN_ALL = 512 << 20
MAX_FILES = 200_000
# The files of the version in the stanza are on disk in these states (dpkg(1)).
_UNPACKED = {
    b"installed", b"unpacked", b"half-configured", b"triggers-awaited", b"triggers-pending",
}  # fmt: skip
_LIST = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))?\.list", re.ASCII)
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


class Identity(msgspec.Struct, frozen=True):
    """The same database as seen from wherever: what `stat` says of its status file."""

    device: int
    inode: int
    modified_ns: int
    size: int


class Diversion(msgspec.Struct, frozen=True):
    """Packages other than `by` have their file `shipped` put at `now` instead."""

    shipped: str
    now: str
    by: str  # ":" for the administrator


class Database:
    """One root's packages. Read when first asked, then kept."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._lists: tuple[tuple[tuple[str, str], bytes], ...] | None = None
        self._packages: dict[tuple[str, str], Package] | None = None
        self._diversions: tuple[Diversion, ...] | None = None
        self._owners: dict[str, Package | None] = {}

    def owner(self, path: str) -> Package | None:
        """The package that has put the file at `path` (of this root) there."""
        if not path.startswith("/"):
            return None
        if path not in self._owners:
            self._owners[path] = self._find(path)
        return self._owners[path]

    def names(self) -> frozenset[str]:
        """Of binary and source packages that are unpacked."""
        found = self._all().values()
        return frozenset(p.name for p in found) | frozenset(p.source for p in found)

    def _find(self, path: str) -> Package | None:
        for name in _spellings(path):
            diverted = next((d for d in self._all_diversions() if name in (d.shipped, d.now)), None)
            shipped = diverted.shipped if diverted else name
            for owner in self._listing(shipped):
                if diverted and (owner[0] == diverted.by) != (name == diverted.shipped):
                    continue  # at the shipped path lies the diverter's file, and only that
                if package := self._all().get(owner):
                    return package
        return None

    def _listing(self, path: str) -> Iterator[tuple[str, str]]:
        wanted = b"\n" + os.fsencode(path) + b"\n"
        for owner, content in self._contents():
            if wanted in content:
                yield owner

    def _contents(self) -> tuple[tuple[tuple[str, str], bytes], ...]:
        if self._lists is None:
            self._lists = tuple(_read_lists(self._base))
        return self._lists

    def _all(self) -> Mapping[tuple[str, str], Package]:
        if self._packages is None:
            self._packages = read_packages(self._base)
        return self._packages

    def _all_diversions(self) -> tuple[Diversion, ...]:
        if self._diversions is None:
            self._diversions = parse_diversions(read_bounded(self._base, DIVERSIONS, MAX_LIST))
        return self._diversions


def identify(base: str) -> Identity | None:
    """None where there is no dpkg database."""
    try:
        descriptor = open_below(base, STATUS)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return Identity(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def read_packages(base: str) -> dict[tuple[str, str], Package]:
    """By name and architecture; under an empty architecture, too, where a name has but one."""
    found = parse_status(read_bounded(base, STATUS, MAX_STATUS))
    for name in _directory(base, UPDATES):  # not yet merged: dpkg is at work, or was cut short
        if name.isdigit():
            found |= parse_status(read_bounded(base, f"{UPDATES}/{name}", MAX_LIST))
    known = {key: package for key, package in found.items() if package is not None}
    for (name, _), package in tuple(known.items()):
        known.setdefault((name, ""), package)
    return known


def parse_status(text: bytes) -> dict[tuple[str, str], Package | None]:
    """Each stanza's package; None for one whose files are not those of a version."""
    found: dict[tuple[str, str], Package | None] = {}
    for stanza in text.split(b"\n\n"):
        fields = _fields(stanza)
        if name := fields.get(b"Package"):
            found[_text(name), _text(fields.get(b"Architecture", b""))] = _package(fields)
    return found


def _fields(stanza: bytes) -> dict[bytes, bytes]:
    lines = (line for line in stanza.split(b"\n") if line[:1] not in (b" ", b"\t"))
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def _package(fields: Mapping[bytes, bytes]) -> Package | None:
    name, version = _text(fields[b"Package"]), _text(fields.get(b"Version", b""))
    words = fields.get(b"Status", b"").split()
    if not version or len(words) != 3 or words[2] not in _UNPACKED:
        return None
    source = _SOURCE.fullmatch(_text(fields.get(b"Source", b""))) or _SOURCE.fullmatch(name)
    return Package(
        name=name,
        version=version,
        architecture=_text(fields.get(b"Architecture", b"")),
        source=source[1] if source else name,
        source_version=(source[2] if source else None) or version,
    )


def parse_diversions(text: bytes) -> tuple[Diversion, ...]:
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    triples = zip(lines[0::3], lines[1::3], lines[2::3], strict=False)
    return tuple(Diversion(*triple) for triple in triples)


def _spellings(path: str) -> tuple[str, ...]:
    """A merged /usr shows one file under two names, and packages list either."""
    if path.startswith("/usr/"):
        return path, path.removeprefix("/usr")
    return path, "/usr" + path


def _read_lists(base: str) -> Iterator[tuple[tuple[str, str], bytes]]:
    left = MAX_LISTS_IN_ALL
    for name in _directory(base, LISTS):
        match = _LIST.fullmatch(name)
        if match and left > 0:
            content = read_bounded(base, f"{LISTS}/{name}", MAX_LIST)
            left -= len(content)
            yield (match[1], match[2] or ""), b"\n" + content + b"\n"


def _directory(base: str, path: str) -> list[str]:
    try:
        return sorted(os.listdir(resolve_below(base, path)))[:MAX_FILES]  # noqa: PTH208
    except OSError:
        return []


def read_bounded(base: str, path: str, limit: int) -> bytes:
    """b"" where there is no such file, and for one that is longer than any real one."""
    try:
        descriptor = open_below(base, path)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(limit + 1)
    return content if len(content) <= limit else b""


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
