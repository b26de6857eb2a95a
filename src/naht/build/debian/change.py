"""Source change of one built package → a hotpatch, or a refusal, for every object that ships.

    build_change(built, sources, out, told, progress) -> ChangeResult

Refuses nothing as a whole but a package that does not build. The result is also written as
OUT/result.json; its files lie beside it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from naht.build.debian.change_job import (
    ChangeAnswer,
    ChangeJob,
    CopyNote,
    ObjectChange,
    ShippedArchive,
    ShippedName,
    Told,
)
from naht.build.debian.enclosure import Layered
from naht.build.debian.package_build import RECORDER, BuiltPackage
from naht.build.debian.shipped import ShippedObject, read_shipped
from naht.build.native.request import Progress

_INSIDE = "naht.build.debian.change_inside:run"


@dataclass(frozen=True)
class SourceTrees:
    """base: what was built. old, new: the sides; None: the base itself."""

    base: Path
    old: Path | None
    new: Path | None


@dataclass(frozen=True)
class ChangeOptions:
    """running: "package:path" → the file that hosts run, where it is not the rebuilt one. allow: as
    `JudgeOptions`. find_copies: also list where else the changed code is."""

    running: Mapping[str, Path] = field(default_factory=dict)
    allow: Mapping[str, frozenset[str]] = field(default_factory=dict)
    find_copies: bool = False


class ChangeResult(msgspec.Struct, frozen=True, kw_only=True):
    """directory: where the files of `objects` are. seconds: of both sides and all objects."""

    directory: str
    objects: tuple[ObjectChange, ...]
    copies: tuple[CopyNote, ...] = ()
    unread: tuple[str, ...] = ()  # changed files that no compilation read
    unchanged: tuple[str, ...] = ()  # shipped objects that were linked anew, with the same code
    seconds: float

    def path(self, name: str) -> Path:
        return Path(self.directory) / name


def build_change(
    built: BuiltPackage,
    sources: SourceTrees,
    out: Path,
    told: Told,
    progress: Progress,
    options: ChangeOptions | None = None,
) -> ChangeResult:
    """`out`: a new directory."""
    options = options or ChangeOptions()
    started = time.monotonic()
    work = out / "work"
    work.mkdir(parents=True)
    job = ChangeJob(
        tree=built.tree,
        old=sources.old is not None,
        new=sources.new is not None,
        shipped=_names_by_build_id(built, out / "shipped", options.running),
        archives=rebuilt_archives(built) if options.find_copies else (),
        find_copies=options.find_copies,
        command="dpkg-buildpackage",
        description=told,
        allow=dict(options.allow),  # type: ignore[arg-type]
    )
    enclosure = built.root.enclosure(work / "scratch", _mounts(built, sources, out))
    progress("building both sides and comparing…")
    answer = enclosure.call(_INSIDE, {"job": msgspec.to_builtins(job)}, out / "change.log")
    shutil.rmtree(work, ignore_errors=True)
    return _keep(out, msgspec.convert(answer, ChangeAnswer), started)


class RebuiltFile(msgspec.Struct, frozen=True):
    package: str
    path: str
    kind: str  # as `ShippedObject`
    build_id: str
    file: str  # relative to the built package

    @property
    def name(self) -> str:
        return f"{self.package}:{self.path}"


def rebuilt_files(built: BuiltPackage) -> tuple[RebuiltFile, ...]:
    """The code in the rebuilt binary packages. Read once, then kept beside the build."""
    kept = built.path / "rebuilt.json"
    if not kept.is_file():
        debs = [p for p in built.build.glob("*.deb") if "-dbgsym_" not in p.name]
        found = [_rebuilt(f, built.path) for f in read_shipped(debs, built.path / "rebuilt").files]
        draft = kept.with_suffix(".partial")
        draft.write_bytes(msgspec.json.encode(found))
        draft.rename(kept)
    return msgspec.json.decode(kept.read_bytes(), type=tuple[RebuiltFile, ...])


def _rebuilt(file: ShippedObject, path: Path) -> RebuiltFile:
    place = str(file.file.relative_to(path))
    return RebuiltFile(file.package, file.path, file.kind, str(file.build_id or ""), place)


def rebuilt_objects(built: BuiltPackage) -> tuple[RebuiltFile, ...]:
    return tuple(f for f in rebuilt_files(built) if f.kind == "object" and f.build_id)


def rebuilt_archives(built: BuiltPackage) -> tuple[ShippedArchive, ...]:
    return tuple(
        ShippedArchive(f.package, f.path, f.kind, f.file)
        for f in rebuilt_files(built) if f.kind in ("archive", "relocatable")
    )  # fmt: skip


def _names_by_build_id(
    built: BuiltPackage, directory: Path, running: Mapping[str, Path]
) -> dict[str, tuple[ShippedName, ...]]:
    """Copies of what hosts run go below `directory`, under numbers."""
    directory.mkdir()
    found: dict[str, tuple[ShippedName, ...]] = {}
    for number, item in enumerate(rebuilt_objects(built)):
        file = f"{number:05}"
        shutil.copyfile(running.get(item.name, built.path / item.file), directory / file)
        found[item.build_id] = (*found.get(item.build_id, ()), ShippedName(item.name, file))
    return found


def _mounts(built: BuiltPackage, sources: SourceTrees, out: Path) -> tuple[Layered, ...]:
    work = out / "work"
    for name in ("recorder-upper", "recorder-work"):
        (work / name).mkdir()
    (built.path / "forms").mkdir(exist_ok=True)
    sides = {"base": sources.base, "old": sources.old, "new": sources.new}
    return (
        Layered("/naht/base", (str(built.path),), read_only=True),
        Layered(built.place, (str(built.build),), read_only=True),
        Layered(
            RECORDER, (str(built.recorder),), str(work / "recorder-upper"),
            str(work / "recorder-work"),
        ),
        Layered("/naht/forms", (str(built.path / "forms"),)),
        Layered("/naht/work", (str(work),)),
        Layered("/naht/out", (str(out),)),
        Layered("/naht/shipped", (str(out / "shipped"),), read_only=True),
        *(
            Layered(f"/naht/sources/{name}", (str(tree),), read_only=True)
            for name, tree in sides.items() if tree is not None
        ),
    )  # fmt: skip


def _keep(out: Path, answer: ChangeAnswer, started: float) -> ChangeResult:
    result = ChangeResult(
        directory=str(out),
        objects=answer.objects,
        copies=answer.copies,
        unread=answer.unread,
        unchanged=answer.unchanged,
        seconds=time.monotonic() - started,
    )
    draft = out / "result.json.partial"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    draft.rename(out / "result.json")
    return result
