"""A change of one built package, inside the clean root: both sides are built, every object that a
host may run is paired, judged and emitted. Called through `Enclosure.call`; JSON in, JSON out.

Refuses object by object: one that can't be done says why and leaves the others alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import convert

from naht.build.debian.change_job import (
    ChangeAnswer,
    ChangeJob,
    CopyNote,
    ObjectChange,
    RefusalText,
    ShippedName,
)
from naht.build.debian.copies import find_copies
from naht.build.debian.enclosure import BUILDER
from naht.build.debian.linked_pairs import LinkedPair, link_key, linked_pairs, links_of
from naht.build.debian.package_build import RECORDER
from naht.build.debian.shipped import Kind, Shipped, ShippedObject
from naht.build.debian.sides import BASE, WORK, Records, Side, build_side, compare_sources
from naht.build.native.description import Description
from naht.build.native.emit import emit
from naht.build.native.judge import JudgeOptions, judge
from naht.build.native.pair_phases import PairFacts, PairingPlace, pair_phases
from naht.build.native.phases import Phase, check_rebuilt, phase_of_link
from naht.build.native.recording import Invocation
from naht.build.native.tool_account import run_tools_as
from naht.build.native.toolchain import place_headers
from naht.build.native.trees import source_digests
from naht.build.native.units import Compilation, code_view, find_compilations
from naht.domain.build_id import BuildId
from naht.domain.package import ShippedVersion
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError, NahtError
from naht.hotpatch.container import pack_hotpatch
from naht.hotpatch.manifest import Source

OUT = Path("/naht/out")
SOURCES = Path("/naht/sources")
SHIPPED = Path("/naht/shipped")
FORMS = Path("/naht/forms")


def run(job: Mapping[str, Any]) -> Any:
    return msgspec.to_builtins(_Change(ChangeJob.from_json(job)).run())


@dataclass
class _Found:
    """A pair and the names under which hosts have it."""

    pair: LinkedPair
    shipped_as: tuple[str, ...]
    running: Path | None  # as shipped; None: made from the old link


class _Change:
    def __init__(self, job: ChangeJob) -> None:
        self.job = job
        self.tree = Path(job.tree)
        self.records = Records.of_base()
        self.unchanged: list[str] = []
        self.base_ids = {r.id for r in self.records.base}
        self.compilations = find_compilations(self.records.base)
        base_source = SOURCES / "base"
        self.old = Side("old", self.tree, base_source, SOURCES / "old" if job.old else None)
        self.new = Side("new", self.tree, base_source, SOURCES / "new" if job.new else None)

    def run(self) -> ChangeAnswer:
        run_tools_as(BUILDER)
        for directory in (WORK, FORMS):
            directory.chmod(0o755)  # whatever the umask of who called us
        place_headers(Path(RECORDER))
        links = links_of(self.records.base)
        shipped = {link.id for link in links if _build_id(link) in self.job.shipped}
        for side in (self.old, self.new):
            log = OUT / f"build-{side.name}.log"
            build_side(side, self.records, self.compilations, shipped, log, _say)
        self.sources = self._changed_sources()
        found = self._find_objects()
        self.old_compilations = (*self.compilations, *find_compilations(self.old.records))
        self.new_compilations = (*self.compilations, *find_compilations(self.new.records))
        objects = [self._object(number, item) for number, item in enumerate(found)]
        same = [o for o in objects if o.refusal and o.refusal.reason == "nothing-changed"]
        self.unchanged += [name for o in same for name in o.shipped_as]
        objects = [o for o in objects if o not in same]
        return ChangeAnswer(tuple(objects), self._copies(), self._unread(), tuple(self.unchanged))

    def _unread(self) -> tuple[str, ...]:
        """Changed files that enter no compilation of either side."""
        read = {
            source for side in (self.old, self.new)
            for source in (*side.change.changed, *side.change.added) if side.reads(source)
        }  # fmt: skip
        changed = (*self.old.change.changed, *self.new.change.changed)
        return tuple(sorted({name for name in changed if name not in read}))

    def _copies(self) -> tuple[CopyNote, ...]:
        if not self.job.find_copies:
            return ()
        self.new.show()
        changed = {self.tree / n for side in (self.old, self.new) for n in side.change.changed}
        found = find_copies(self.records.base, changed, self._rebuilt(), self.tree)
        return tuple(CopyNote(c.kind, c.name, c.shipped_as, c.units, c.note) for c in found)

    def _rebuilt(self) -> Shipped:
        archives = [
            ShippedObject(a.package, a.path, convert(a.kind, Kind), None, BASE / a.file)
            for a in self.job.archives
        ]
        objects = [
            _shipped_object(item, build_id)
            for build_id, items in self.job.shipped.items() for item in items
        ]  # fmt: skip
        return Shipped((), (*objects, *archives))

    def _changed_sources(self) -> tuple[Source, ...]:
        base = SOURCES / "base"
        old, new = self.old.source or base, self.new.source or base
        return source_digests(compare_sources(old, new), old, new)

    def _find_objects(self) -> list[_Found]:
        """Shipped first; others (test programs, convenience copies) only with no hotpatch."""
        names = self._shipped_names()
        pairs = linked_pairs(self.records.base, self.old.records, self.new.records, self.tree)
        found = []
        for pair in pairs:
            known = names.get(pair.key, {})
            if not _differs(pair):
                self.unchanged += sorted(known)
                continue
            running = next(iter(known.values()), None)
            found.append(_Found(pair, tuple(sorted(known)), SHIPPED / running if running else None))
        return found

    def _shipped_names(self) -> dict[tuple[str, str], dict[str, str]]:
        """Of each link's key: shipped names → files below SHIPPED, by the build-id of the base."""
        names: dict[tuple[str, str], dict[str, str]] = {}
        for link in links_of(self.records.base):
            for item in self.job.shipped.get(_build_id(link), ()):
                names.setdefault(link_key(link, self.tree), {})[item.name] = item.file
        return names

    def _object(self, number: int, found: _Found) -> ObjectChange:
        name = found.pair.output.name
        directory = OUT / "objects" / f"{number:03}"
        directory.mkdir(parents=True)
        shutil.copyfile(found.pair.old.outputs[0].copy, directory / "old")
        shutil.copyfile(found.pair.new.outputs[0].copy, directory / "new")
        running = self._running(found, directory)
        change = ObjectChange(
            name="/".join(filter(None, found.pair.key)),
            shipped_as=found.shipped_as,
            build_id=_build_id(found.pair.old),
            old_file=f"objects/{number:03}/old",
            new_file=f"objects/{number:03}/new",
            running_file=str(running.relative_to(OUT)),
        )
        if not found.shipped_as:
            return change
        started = time.monotonic()
        _say(f"comparing {name}…")
        try:
            self._emit(found.pair, running, directory, change)
        except BuildRefusedError as error:
            change.refusal = RefusalText(error.reason, error.cause, error.next_step, error.where)
        except NahtError as error:
            change.refusal = RefusalText("tool", error.cause, error.next_step, error.where)
        except Exception as error:  # noqa: BLE001  one object must not take the others with it
            traceback.print_exc(file=sys.stderr)
            change.refusal = RefusalText(
                "internal-error", f"{type(error).__name__}: {error}.", "Report it with the log."
            )
        change.seconds = time.monotonic() - started
        return change

    def _running(self, found: _Found, directory: Path) -> Path:
        name = found.shipped_as[0].rpartition("/")[2] if found.shipped_as else ""
        running = directory / "running" / (name or found.pair.output.name)
        running.parent.mkdir()
        if found.running is not None and self.old.source is None:
            shutil.copyfile(found.running, running)
            return running
        _strip(found.pair.old.outputs[0].copy, running)
        return running

    def _emit(self, pair: LinkedPair, running: Path, directory: Path, change: ObjectChange) -> None:
        old = self._phase(pair.old, self.old, self.old_compilations)
        new = self._phase(pair.new, self.new, self.new_compilations)
        work = WORK / "pairs" / directory.name
        work.mkdir(parents=True)
        self.new.show()
        self._check_compiled(old, new)
        where = PairingPlace(self.tree, work, self.old.show, self._kept_forms)
        facts = PairFacts(pair.output.name, self.job.command, self.sources, running)
        built = pair_phases(old, new, where, facts, _say)
        changes = judge(built, JudgeOptions(**self.job.allow))
        change.notes = tuple(changes.notes)
        change.functions = tuple(f.name for f in changes.functions)
        manifest, images = emit(built, changes, self._description(change))
        (directory / "hotpatch.naht").write_bytes(pack_hotpatch(manifest, images))
        change.hotpatch = f"objects/{directory.name}/hotpatch.naht"
        shutil.rmtree(work)

    def _kept_forms(self, compilation: Compilation) -> Path | None:
        """What the base compiled comes out the same in every change; what a side compiled, in all
        the objects of this one."""
        if compilation.invocation.id not in self.base_ids:
            forms = WORK / "forms"
            forms.mkdir(exist_ok=True)
            return forms / f"{compilation.invocation.id}-{compilation.source.index}"
        return FORMS / f"{compilation.invocation.id}-{compilation.source.index}"

    def _phase(self, link: Invocation, side: Side, compilations: tuple[Compilation, ...]) -> Phase:
        records = (*self.records.base, *side.records)
        return phase_of_link(link, records, compilations, self.records.recorder, self.tree)

    def _check_compiled(self, old: Phase, new: Phase) -> None:
        """Units of the base that a side's change reaches must have been compiled in that side."""
        for phase, side in ((old, self.old), (new, self.new)):
            if side.stale:
                base = Phase(self.records.base, phase.link)
                check_rebuilt(side.stale, base, phase, self.tree)

    def _description(self, change: ObjectChange) -> Description:
        told = self.job.description
        suffix = re.sub(r"[^A-Za-z0-9._+~-]", "_", Path(change.name).name)
        return Description(
            id=f"{told.id}.{suffix}"[:119] + f".{change.build_id[:8]}",
            title=told.title,
            advisories=told.advisories,
            severity=told.severity,
            purl=told.purl,
            level=told.level,
            supersedes=told.supersedes,
            brings_to=self._brings_to(change),
            authors_patches=told.authors_patches,
        )

    def _brings_to(self, change: ObjectChange) -> tuple[ShippedVersion, ...]:
        told = self.job.description
        known = {told.fixed.get(name, "") for name in change.shipped_as}
        return tuple(
            ShippedVersion(version=told.version, build_id=i) for i in sorted(known) if told.version
        )


def _shipped_object(item: ShippedName, build_id: str) -> ShippedObject:
    package, _, path = item.name.partition(":")
    return ShippedObject(package, path, "object", BuildId(build_id), SHIPPED / item.file)


def _differs(pair: LinkedPair) -> bool:
    old, new = (link.outputs[0].copy.read_bytes() for link in (pair.old, pair.new))
    return old != new and _code(old) != _code(new)


def _code(linked: bytes) -> list[tuple[str, bytes]]:
    """Without the build-id, which covers debug information too."""
    return [part for part in code_view(linked) if part[0] != ".note.gnu.build-id"]


def _build_id(link: Invocation) -> str:
    identity = ElfFile(link.outputs[0].copy.read_bytes()).build_id
    return str(identity or "")


def _strip(linked: Path, output: Path) -> None:
    """As dh_strip does for libraries and programs; the build-id stays."""
    subprocess.run(
        ["strip", "--remove-section=.comment", "--remove-section=.note", "--strip-unneeded",
         "-o", str(output), str(linked)], check=True,
    )  # fmt: skip


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  the log of the call


__all__ = ["BASE", "OUT", "SHIPPED", "SOURCES", "run"]
