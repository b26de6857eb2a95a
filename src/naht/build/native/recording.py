"""Reads what the stand-ins left: which drivers and linkers a build ran, with what, and copies of
what came out. Paths are made absolute here; arguments are kept as they were.

Refuses records that are malformed or too many. It draws no conclusions: see `units`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from naht.build.native.toolchain import Recorder
from naht.errors import HostileInputError

MAX_RECORDS = 1_000_000
MAX_RECORD_SIZE = 64 << 20

Kind = Literal["driver", "linker", "linker-other", "maker"]


@dataclass(frozen=True)
class KeptFile:
    """A file that the build read or wrote, and the copy that was taken at that moment."""

    path: Path
    copy: Path


@dataclass(frozen=True)
class Invocation:
    """One run of a compiler driver, a linker or an outermost make. Ids sort by time of start."""

    id: str
    kind: Kind
    tool: Path
    cwd: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    succeeded: bool
    parent: str = ""  # a linker's: the id of the driver that ran it
    responses: tuple[KeptFile, ...] = ()
    outputs: tuple[KeptFile, ...] = ()
    inputs: tuple[KeptFile, ...] = ()  # a linker's: object files and archives of the build
    dependencies: Path | None = None  # a driver's: makefile rule with all files that were read
    map: Path | None = None  # a linker's


@dataclass
class _Draft:
    values: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def one(self, key: str) -> str:
        return self.values.get(key, [""])[0]


def read_records(
    recorder: Recorder, directory: Path, only: Collection[str] | None = None
) -> tuple[Invocation, ...]:
    """All complete records, oldest first; `only`: those of these names."""
    present = (p.name for p in directory.iterdir() if not p.name.startswith("."))
    names = sorted(name for name in present if only is None or name in only)
    if len(names) > MAX_RECORDS:
        raise _malformed("there are more than a million of them")
    return tuple(_read(directory / name, recorder.files) for name in names)


def _read(path: Path, files: Path) -> Invocation:
    if path.stat().st_size > MAX_RECORD_SIZE:
        raise _malformed("one is larger than 64 MiB")
    draft = _collect(path.read_bytes())
    cwd = Path(draft.one("cwd"))
    kind = draft.one("kind")
    if kind not in get_args(Kind) or not cwd.is_absolute():
        raise _malformed(f"{path.name} has no kind or directory")

    def kept(key: str) -> tuple[KeptFile, ...]:
        found = draft.kept.get(key, ())
        return tuple(KeptFile(_absolute(cwd, name), files / copy) for name, copy in found)

    dependencies, maps = kept("dependencies"), kept("map")
    return Invocation(
        id=path.name,
        kind=kind,  # type: ignore[arg-type]
        tool=Path(draft.one("tool")),
        cwd=cwd,
        arguments=tuple(draft.values.get("arg", ())),
        environment=dict(e.split("=", 1) for e in draft.values.get("env", ()) if "=" in e),
        succeeded=draft.one("status") == "0",
        parent=draft.one("parent"),
        responses=kept("response"),
        outputs=kept("output"),
        inputs=kept("input"),
        dependencies=dependencies[0].copy if dependencies else None,
        map=maps[0].copy if maps else None,
    )


def _collect(raw: bytes) -> _Draft:
    fields = [os.fsdecode(f) for f in raw.split(b"\0")]
    if len(fields) % 2 != 1 or fields[-1]:
        raise _malformed("one is cut short")
    draft = _Draft()
    pairs = list(zip(fields[0:-1:2], fields[1::2], strict=True))
    for index, (key, value) in enumerate(pairs):
        if key == "copy":
            continue
        next_key, copy = pairs[index + 1] if index + 1 < len(pairs) else ("", "")
        if next_key == "copy" and key not in ("arg", "env"):
            draft.kept.setdefault(key, []).append((value, copy))
        else:
            draft.values.setdefault(key, []).append(value)
    return draft


def _absolute(cwd: Path, name: str) -> Path:
    return Path(os.path.normpath(cwd / name))


def _malformed(what: str) -> HostileInputError:
    return HostileInputError(
        f"The records of the build are malformed: {what}.",
        "Check that the work directory's file system is not full, and build again.",
    )
