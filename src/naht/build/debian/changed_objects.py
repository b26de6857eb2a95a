"""Which object files of a recorded build were compiled from changed files, and what took them in.

Owns the tracing from compilation through archives and relocatable links. Refuses nothing; where
an object was altered after its compilation, its name or path counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from naht.build.native.archives import read_archive
from naht.build.native.dependencies import MAX_RULE_SIZE, parse_rule
from naht.build.native.link_map import read_link_map
from naht.build.native.recording import Invocation, KeptFile
from naht.build.native.units import Compilation, code_view, find_compilations
from naht.errors import NahtError

_RELOCATABLE = {"-r", "-i", "--relocatable"}
_Key = TypeVar("_Key")
Members = tuple[tuple[str, bytes], ...]  # name and digest


class ChangedObjects:
    def __init__(self, records: Sequence[Invocation], changed: frozenset[Path]) -> None:
        """`changed`: absolute, as the build saw them."""
        self.compilations = find_compilations(records)
        reads = _Reads(changed)
        self._affected = [x for x in self.compilations if reads.one(x)]
        self._by_driver: dict[str, set[Path]] = {}
        self._by_path: dict[Path, set[Path]] = {}
        self._by_name: dict[str, set[Path]] = {}
        self._by_digest: dict[bytes, set[Path]] = {}
        self._archives: dict[Path, Members] = {}
        self._taken: set[Path] = set()  # outputs of affected compilations that a link took
        self._index()
        self._units_of_links = {r.id: self._trace(r) for r in _links(records)}

    def _index(self) -> None:
        self._known = {_digest(x.copy.read_bytes()) for x in self.compilations if x.copy}
        for x in self._affected:
            source = x.source.path
            if x.output is None:
                self._by_driver.setdefault(x.invocation.id, set()).add(source)
                continue
            self._by_path.setdefault(x.output, set()).add(source)
            self._by_name.setdefault(x.output.name, set()).add(source)
            if x.copy:
                content = x.copy.read_bytes()
                for digest in filter(None, (_digest(content), _code_digest(content))):
                    self._by_digest.setdefault(digest, set()).add(source)

    def units_of(self, link: Invocation) -> set[Path]:
        """The changed units in the result of a link."""
        return self._units_of_links.get(link.id, set())

    def units_like(self, content: bytes) -> set[Path]:
        """Of an object in a package."""
        return self._by_digest.get(self._identify(content), set())

    def unlinked(self) -> list[Compilation]:
        """Affected compilations whose outputs no link took."""
        return [x for x in self._affected if x.output and x.output not in self._taken]

    def _trace(self, link: Invocation) -> set[Path]:
        units = set(self._by_driver.get(link.parent, ()))
        loaded = _loaded_members(link)
        for kept in link.inputs:
            units |= self._units_in(kept, loaded)
        if units and _RELOCATABLE & set(link.arguments):  # its result goes into other links
            for kept in link.outputs:
                self._by_path.setdefault(kept.path, set()).update(units)
                content = kept.copy.read_bytes()
                for digest in filter(None, (_digest(content), _code_digest(content))):
                    self._by_digest.setdefault(digest, set()).update(units)
        self._taken |= {x.output for x in self._affected if x.output and x.source.path in units}
        return units

    def _units_in(self, kept: KeptFile, loaded: frozenset[str] | None) -> set[Path]:
        if _is_archive(kept.copy):
            members = self._members(kept, loaded)
            return {
                unit for name, digest in members for unit in self._units_of_member(name, digest)
            }
        return self._units_of_object(
            self._identify(kept.copy.read_bytes()), self._by_path, kept.path
        )

    def _units_of_member(self, name: str, digest: bytes) -> set[Path]:
        return self._units_of_object(digest, self._by_name, name)

    def _units_of_object(
        self, digest: bytes, otherwise: Mapping[_Key, set[Path]], key: _Key
    ) -> set[Path]:
        """By path or name only where the content is that of no compilation."""
        if digest in self._by_digest or digest in self._known:
            return self._by_digest.get(digest, set())
        return otherwise.get(key, set())

    def _identify(self, content: bytes) -> bytes:
        """Of an object that was stripped since its compilation, by its code."""
        digest = _digest(content)
        return digest if digest in self._known else (_code_digest(content) or digest)

    def _members(self, kept: KeptFile, loaded: frozenset[str] | None) -> Members:
        if kept.copy not in self._archives:
            try:
                members = read_archive(kept.copy, kept.path)
            except NahtError:  # thin, and its members are gone: any could be in it
                return tuple((name, b"") for name in loaded or self._by_name)
            self._archives[kept.copy] = tuple((m.name, self._identify(m.content)) for m in members)
        return tuple(m for m in self._archives[kept.copy] if loaded is None or m[0] in loaded)


class _Reads:
    """Which compilations read a changed file, under whatever name."""

    def __init__(self, changed: frozenset[Path]) -> None:
        self._changed = changed
        self._real: dict[Path, Path] = {}

    def one(self, compilation: Compilation) -> bool:
        """Without a rule that says what it read, it may have read anything."""
        rule = compilation.invocation.dependencies
        if self._is_changed(compilation.source.path):
            return True
        if rule is None or not rule.is_file() or rule.stat().st_size > MAX_RULE_SIZE:
            return True
        files = parse_rule(rule.read_bytes(), compilation.invocation.cwd)
        return any(self._is_changed(file) for file in files)

    def _is_changed(self, file: Path) -> bool:
        if file not in self._real:
            self._real[file] = Path(os.path.realpath(file))
        return file in self._changed or self._real[file] in self._changed


def _is_archive(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(8) in (b"!<arch>\n", b"!<thin>\n")


def _links(records: Sequence[Invocation]) -> Iterator[Invocation]:
    for record in records:
        if record.kind.startswith("linker") and record.succeeded and record.outputs:
            yield record


def _loaded_members(link: Invocation) -> frozenset[str] | None:
    """Names of archive members that the linker took; None: unknown, so all of them count."""
    try:
        return frozenset(s.member for s in read_link_map(link.map).inputs) if link.map else None
    except NahtError:
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _code_digest(content: bytes) -> bytes:
    try:
        view = code_view(content)
    except NahtError:
        return b""
    digest = hashlib.sha256(b"code\0")
    for name, body in view:
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    return digest.digest() if view else b""
