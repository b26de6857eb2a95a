"""What is particular to one package, read from its folder of data: library drivers, runs of its
programs, its daemons. The contract is tests/corpus/README.md. Refuses malformed files with their
name, so that a slip is not taken for a missing file."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import msgspec

from naht.errors import UsageError

_HEADER = re.compile(r"\A\s*/\*(.*?)\*/", re.DOTALL)
_ENTRY = re.compile(r"^\s*\*?\s*(object|link|proves):\s*(.*?)\s*$", re.MULTILINE)
_INCLUDE = '#include "driver.h"'  # other C files belong to runs and daemons
_SEE = "See tests/corpus/README.md."


@dataclass(frozen=True)
class LibraryDriver:
    source: Path
    objects: tuple[str, ...]
    link: tuple[str, ...]
    proves: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.source.stem

    def is_for(self, object_name: str, patch: str) -> bool:
        """`proves` names patches without the folder that they may be in."""
        fits = any(fnmatch(object_name, pattern) for pattern in self.objects)
        return fits and (not self.proves or proves(self.proves, patch))


def proves(patterns: tuple[str, ...], patch: str) -> bool:
    return any(fnmatch(name, p) for p in patterns for name in (patch, PurePosixPath(patch).name))


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    program: str
    arguments: tuple[str, ...] = ()
    input: str = ""
    environment: dict[str, str] = {}
    prepare: tuple[tuple[str, ...], ...] = ()
    ignore_output: bool = False
    proves: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return shlex.join([PurePosixPath(self.program).name, *self.arguments])[:120]


class ProofOfDaemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    proves: tuple[str, ...]
    arguments: tuple[str, ...]


class Daemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    program: str
    client: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    prepare: tuple[tuple[str, ...], ...] = ()
    proofs: tuple[ProofOfDaemon, ...] = ()
    stop_signal: str = "TERM"
    seconds_to_start: float = 10.0

    @property
    def name(self) -> str:
        return PurePosixPath(self.program).name


class _Runs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    runs: tuple[Run, ...] = ()
    daemons: tuple[Daemon, ...] = ()


@dataclass(frozen=True)
class PackageData:
    directory: Path | None
    drivers: tuple[LibraryDriver, ...] = ()
    runs: tuple[Run, ...] = ()
    daemons: tuple[Daemon, ...] = ()

    @classmethod
    def of(cls, directory: Path) -> PackageData:
        if not directory.is_dir():
            return cls(None)
        listed = _read_runs(directory / "runs.json")
        sources = [s for s in sorted(directory.glob("*.c")) if _INCLUDE in s.read_text()]
        drivers = tuple(map(read_driver, sources))
        return cls(directory, drivers, listed.runs, listed.daemons)


def _read_runs(path: Path) -> _Runs:
    if not path.is_file():
        return _Runs()
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Runs)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is malformed: {error}.", _SEE) from error


def read_driver(source: Path) -> LibraryDriver:
    header = _HEADER.match(source.read_text())
    entries: dict[str, list[str]] = {"object": [], "link": [], "proves": []}
    for key, value in _ENTRY.findall(header[1] if header else ""):
        entries[key] += shlex.split(re.sub(r"\s\(.*\)$", "", value))
    if not entries["object"]:
        raise UsageError(f"{source} does not say which `object:` it is for.", _SEE)
    return LibraryDriver(source, *(tuple(entries[k]) for k in ("object", "link", "proves")))
