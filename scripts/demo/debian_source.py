"""The source package of the demo's case, through the Debian builder's own source side.

Everything stays under one directory. Refuses to wait long for an archive: the demo has a case that
needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from naht.build.debian.apt import GoneFromArchiveError, PrivateApt
from naht.build.debian.apt_entries import host_entries, host_release
from naht.build.debian.archive import Archive
from naht.build.debian.cache import Cache
from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.quilt import state_before
from naht.build.debian.source import SourcePackage, kept_source
from naht.build.debian.versions import version_key
from naht.errors import NahtError

IMPATIENT = ("Acquire::Retries=0", "Acquire::http::Timeout=8", "Acquire::https::Timeout=8")


class SourceUnavailableError(Exception):
    """No source package could be had; the text says why, for a person."""


def fetch(package: str, patch: str, work: Path) -> SourcePackage:
    """The newest version that can be had and whose series has `patch`; kept for the next time."""
    try:
        for source in _sources(package, work):
            if patch in PatchStack.of(source.tree).applied:
                return source
    except NahtError as error:
        raise SourceUnavailableError(error.cause) from error
    raise SourceUnavailableError(f"No version of {package} with {patch} could be downloaded.")


def _sources(package: str, work: Path) -> Iterator[SourcePackage]:
    """What is kept needs no archive."""
    work.mkdir(parents=True, exist_ok=True)
    cache = Cache(work / "cache")
    kept = [kept_source(seal.parent) for seal in cache.root.glob(f"sources/{package}_*/complete")]
    yield from sorted(kept, key=lambda source: version_key(source.version), reverse=True)
    archive = Archive(cache, _source_apt(cache.root), host_release(), lambda _: None)
    for offered in archive.versions(package):
        try:
            yield archive.fetch_source(package, offered.version)
        except GoneFromArchiveError:
            continue


def _source_apt(root: Path) -> PrivateApt:
    """Without the lists of binary packages: the demo needs none, and they are long."""
    entries = host_entries(host_release()).replace("Types: deb deb-src\n", "Types: deb-src\n")
    return PrivateApt(root / "apt", entries, IMPATIENT)


def copy_without(source: SourcePackage, patch: str, destination: Path) -> None:
    """A copy of the tree as it was before that one patch."""
    pair = state_before(source, [patch], destination.parent / "states")
    if pair.left_out:
        raise SourceUnavailableError(f"Later patches build on {patch}: {pair.left_out}.")
    pair.old.rename(destination)
