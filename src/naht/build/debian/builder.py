"""Two versions of a Debian source package → a hotpatch for every shipped object that changed. The
top function reads as the algorithm.

Refuses as a whole only what leaves nothing to do: versions that can't be had, a package that does
not build. What can't be done for one object is said of that object.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import msgspec

from naht.build.debian.archive import Archive, host_archive
from naht.build.debian.authors_patches import written_instead
from naht.build.debian.built_using import find_packages_built_with
from naht.build.debian.cache import Cache
from naht.build.debian.change import (
    ChangeOptions,
    ChangeResult,
    SourceTrees,
    build_change,
    rebuilt_objects,
)
from naht.build.debian.change_job import CopyNote, ObjectChange, RefusalText, Told
from naht.build.debian.changelog import Entry, read_changelog
from naht.build.debian.copies import Copy
from naht.build.debian.installed import packages_installed_from
from naht.build.debian.older import OlderState, older_state
from naht.build.debian.patch_notes import cves_in, notes_of, patches_for
from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.reference import compare_objects
from naht.build.debian.request import DebianRequest, DebianResult, Reference
from naht.build.debian.shipped import ShippedObject, read_installed, read_shipped
from naht.build.debian.source import SourcePackage
from naht.build.debian.versions import as_file_name
from naht.build.debian.whole_build import SourceState, Workshop
from naht.build.native.builder import allowances
from naht.build.native.request import Progress
from naht.domain.package import compare_versions
from naht.errors import ToolError, UsageError
from naht.hotpatch.manifest import AuthorsPatch


def build_debian(request: DebianRequest, progress: Progress) -> DebianResult:
    started = time.monotonic()
    cache = Cache(request.cache)
    archive = host_archive(cache, progress)
    _update(archive, progress)
    target = archive.fetch_source(request.source, request.to_version)
    with TemporaryDirectory(dir=_scratch(cache)) as scratch:
        work = Path(scratch)
        older, written = _instead(request, _older(request, target, archive, work), work)
        shipped = _shipped(archive, target, request.from_version, work)
        fixed = _shipped(archive, target, request.to_version, work)
        built = _workshop(request, archive, progress).whole_build(_state(request, older, target))
        told = _told(request, older, target, fixed, written)
        sources = SourceTrees(older.tree, None, older.new)
        options = ChangeOptions(
            running={name: thing.file for name, thing in shipped.items()},
            allow=allowances(request.allow),
            find_copies=True,
        )
        change = build_change(built, sources, work / "result", told, progress, options)
        others = find_packages_built_with(archive.apt, request.source)
        rebuilt = {item.name: built.path / item.file for item in rebuilt_objects(built)}
        found = _Found(change, shipped, older, told, others, rebuilt)
        return _deliver(request, found, started)


def _update(archive: Archive, progress: Progress) -> None:
    """What the cache has needs no network."""
    try:
        archive.apt.update()
    except ToolError as error:
        progress(f"going on with what is known of the archives: {error.cause}")


@dataclass(frozen=True)
class _Found:
    change: ChangeResult
    shipped: Mapping[str, ShippedObject]
    older: OlderState
    told: Told
    others: tuple[Copy, ...]
    rebuilt: Mapping[str, Path]


def _scratch(cache: Cache) -> Path:
    directory = cache.root / "scratch"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _workshop(request: DebianRequest, archive: Archive, progress: Progress) -> Workshop:
    return Workshop(
        archive.cache, archive.release, archive.clean_root_entries(), request.jobs, progress,
        request.in_place,
    )  # fmt: skip


def _older(
    request: DebianRequest, target: SourcePackage, archive: Archive, work: Path
) -> OlderState:
    stack = PatchStack.of(target.tree)
    patches = list(request.patches)
    if request.cves:
        changelog = read_changelog(target.tree)
        found = {cve: patches_for(stack, changelog, [cve]) for cve in request.cves}
        if open_cves := [cve for cve, names in found.items() if not names]:
            raise UsageError(
                f"No patch of {target.name} {target.version} says that it fixes "
                f"{', '.join(open_cves)}.",
                "Name the patches with --patch, and what they close with --advisory; "
                "debian/patches/series lists them.",
            )
        patches += [name for names in found.values() for name in names]
    return older_state(target, request.from_version, archive, work / "states", patches)


def _instead(
    request: DebianRequest, older: OlderState, work: Path
) -> tuple[OlderState, tuple[AuthorsPatch, ...]]:
    """With the author's patches on the fixed side, where there are any."""
    if not request.authors_patches:
        return older, ()
    new = work / "authored"
    written = written_instead(
        older.tree, older.patches, request.authors_patches, request.author, new
    )
    return replace(older, new=new), written


def _shipped(
    archive: Archive, target: SourcePackage, version: str, work: Path
) -> dict[str, ShippedObject]:
    """ "package:path" → what the archive has of that version, else what is installed of it here."""
    binaries = archive.fetch_binaries(replace(target, version=version))
    debs = [file for file in binaries.files if "-dbgsym_" not in file.name]
    into = work / "shipped" / as_file_name(version)
    here = [
        thing
        for package, files in packages_installed_from(target.name, version)
        for thing in read_installed(package, files, into)
        if thing.kind == "object"
    ]
    return {thing.name: thing for thing in (*here, *read_shipped(debs, into).objects)}


def _state(request: DebianRequest, older: OlderState, target: SourcePackage) -> SourceState:
    description, identity = target.description, ""
    if older.how == "unapplied":  # else it is the archive's, whatever is put on it
        identity = f"{target.version} without {' '.join(older.patches)}"
    return SourceState(target.name, request.from_version, older.tree, description, identity)


def _told(
    request: DebianRequest,
    older: OlderState,
    target: SourcePackage,
    fixed: Mapping[str, ShippedObject],
    written: tuple[AuthorsPatch, ...],
) -> Told:
    newer = _entries_since(request.from_version, target)
    # An author's code is that of no version that the distribution shipped.
    partial = bool(request.patches or request.cves or written)
    name = f"{target.name}-{request.to_version}" + ("-authored" if written else "")
    title = f"{target.name} {request.from_version} → {request.to_version}"
    return Told(
        id=request.id or re.sub(r"[^A-Za-z0-9._+~-]", "-", name),
        title=title + (", by an author's patch" if written else ""),
        advisories=request.advisories or _advisories(request, older, target),
        severity=request.severity,
        purl=f"pkg:deb/debian/{target.name}@{quote(request.from_version)}?arch=source",
        level=request.level or max(1, len(newer)),
        supersedes=request.supersedes,
        version="" if partial else request.to_version,
        fixed={} if partial else {n: str(t.build_id or "") for n, t in fixed.items()},
        authors_patches=written,
    )


def _advisories(
    request: DebianRequest, older: OlderState, target: SourcePackage
) -> tuple[str, ...]:
    """What the patches are about, or the changelog where there are no patches. What a header speaks
    of besides need not be fixed by it."""
    stack = PatchStack.of(target.tree)
    named = {cve for name in older.patches for cve in notes_of(stack, name).cves}
    if not older.patches:
        newer = _entries_since(request.from_version, target)
        named = {cve for entry in newer for cve in cves_in(entry.text)}
    return tuple(sorted(named | {cve.upper() for cve in request.cves}))


def _entries_since(version: str, target: SourcePackage) -> list[Entry]:
    """By their order: a rebuild for another release need not list the version that runs."""
    entries = read_changelog(target.tree)
    return [e for e in entries if compare_versions(e.version, version) > 0]


def _deliver(request: DebianRequest, found: _Found, started: float) -> DebianResult:
    """Puts hotpatches and the result where the user wants them."""
    directory = request.output / f"{request.source}_{as_file_name(request.to_version)}"
    directory.mkdir(parents=True, exist_ok=True)
    shipping = [item for item in found.change.objects if item.shipped_as]
    delivered = [_delivered(item, found, directory) for item in shipping]
    objects = (*delivered, *_not_relinked(found, shipping))
    result = DebianResult(
        source=request.source,
        from_version=request.from_version,
        to_version=request.to_version,
        directory=str(directory),
        how=found.older.note,
        patches=found.older.patches,
        advisories=found.told.advisories,
        objects=objects,
        copies=_copies(found, objects),
        references=tuple(r for item in shipping for r in _references(item, found)),
        unread=found.change.unread,
        unchanged=found.change.unchanged,
        seconds=time.monotonic() - started,
        authors_patches=found.told.authors_patches,
    )
    draft = directory / "result.json.partial"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    draft.rename(directory / "result.json")
    return result


def _delivered(item: ObjectChange, found: _Found, directory: Path) -> ObjectChange:
    """By the build-id of what hosts run, which is not always the rebuilt one's."""
    running = [found.shipped[name] for name in item.shipped_as if name in found.shipped]
    build_id = next((str(thing.build_id) for thing in running if thing.build_id), item.build_id)
    hotpatch = f"{build_id}.naht" if item.hotpatch else None
    if item.hotpatch and hotpatch:
        shutil.copyfile(found.change.path(item.hotpatch), directory / hotpatch)
    return msgspec.structs.replace(
        item, build_id=build_id, hotpatch=hotpatch, old_file="", new_file="", running_file=""
    )


def _not_relinked(found: _Found, shipping: Iterable[ObjectChange]) -> Iterable[ObjectChange]:
    """Shipped objects that hold changed code and that the changed build did not link again."""
    known = {name for item in shipping for name in item.shipped_as} | {*found.change.unchanged}
    for copy in found.change.copies:
        if copy.kind == "object" and copy.shipped_as and not known & {*copy.shipped_as}:
            yield ObjectChange(
                name=copy.name,
                shipped_as=copy.shipped_as,
                build_id="",
                old_file="",
                new_file="",
                running_file="",
                refusal=RefusalText(
                    "not-relinked",
                    f"{copy.name} holds changed code ({', '.join(copy.units[:5])}), but building "
                    "the changed source did not link it again.",
                    "Restart what uses it after the upgrade, and report the package.",
                    where=copy.name,
                ),
            )


def _copies(found: _Found, shipping: Iterable[ObjectChange]) -> tuple[CopyNote, ...]:
    """Without the objects that the result is about."""
    told = {item.name for item in shipping}
    same = set(found.change.unchanged)
    others = (CopyNote(c.kind, c.name, c.shipped_as, c.units, c.note) for c in found.others)
    mine = (c for c in found.change.copies if c.name not in told and not same & {*c.shipped_as})
    return (*mine, *others)


def _references(item: ObjectChange, found: _Found) -> Iterable[Reference]:
    for name in item.shipped_as:
        if name in found.shipped:
            rebuilt = found.rebuilt.get(name, found.change.path(item.old_file))
            linked = found.change.path(item.old_file)
            comparison = compare_objects(rebuilt, found.shipped[name].file, linked)
            yield Reference(name, comparison.verdict, comparison.differences[:50])
        else:
            yield Reference(name, "not in the archive")
