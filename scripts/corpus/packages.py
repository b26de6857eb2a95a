"""One package of the corpus, ready for its cases: fetched, unpacked, its clean root made, built
whole and recorded. All of it is cached; a package that is ready costs nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.archive import host_archive
from naht.build.debian.cache import Cache
from naht.build.debian.clean_root import (
    COMPLETE,
    QUICK,
    CleanRoot,
    base_root,
    with_build_dependencies,
)
from naht.build.debian.package_build import BuiltPackage, build_package
from naht.build.debian.source import SourcePackage
from naht.build.native.request import Progress
from naht.errors import ToolError
from scripts.corpus.cases import Case


@dataclass(frozen=True)
class Ready:
    source: SourcePackage
    built: BuiltPackage
    seconds: dict[str, float]  # of the stages that had to run; near zero where the cache had it


@dataclass(frozen=True)
class Workshop:
    cache: Cache
    suite: str
    entries: str  # deb822 text: what a clean root is made from; "": what this host's apt trusts
    jobs: int

    def ready(self, case: Case, progress: Progress) -> Ready:
        clock = Clock()
        with clock.stage("fetch"):
            archive = host_archive(self.cache, progress, self.suite)
            source = archive.fetch_source(case.package, case.version)
        with clock.stage("root"):
            entries = self.entries or archive.clean_root_entries()
            base = base_root(self.cache, self.suite, entries, progress)
        failure: ToolError | None = None
        for profiles in (QUICK, COMPLETE):
            try:
                built = self._ready(source, base, profiles, clock, progress)
            except ToolError as error:
                failure = failure or error
            else:
                return Ready(source, built, clock.seconds)
        assert failure
        raise failure

    def _ready(
        self, source: SourcePackage, base: CleanRoot, profiles: tuple[str, ...], clock: Clock,
        progress: Progress,
    ) -> BuiltPackage:  # fmt: skip
        with clock.stage("root"):
            root = with_build_dependencies(self.cache, base, source.description, progress, profiles)
        with clock.stage("build"):
            return self._build(source, root, profiles, progress)

    def size_when_built(self, package: str) -> int:
        """How many tools its whole build ran; 0 when it is not in the cache."""
        pattern = f"{package}-{'[0-9a-f]' * 24}/complete"
        built = [seal.parent for seal in (self.cache.root / "builds").glob(pattern)]
        return max((len(os.listdir(b / "recorder/records")) for b in built), default=0)  # noqa: PTH208

    def _build(
        self, source: SourcePackage, root: CleanRoot, profiles: tuple[str, ...], progress: Progress
    ) -> BuiltPackage:
        key = hashlib.sha256(f"{root.key}{source.name}{source.version}".encode()).hexdigest()[:24]
        name = f"{source.name}-{upstream(source.version)}"
        with self.cache.entry("builds", f"{source.name}-{key}") as entry:
            if entry.complete:
                return BuiltPackage(entry.path, root, name)
            progress(f"building {source.name} {source.version}…")
            built = build_package(
                entry, source.tree, name, root,
                timestamp=timestamp(source.tree), jobs=self.jobs, profiles=profiles,
            )  # fmt: skip
            entry.seal()
        return built


class Clock:
    """The time of each stage; what fails is in the stage that was begun last."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.current = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.current = name
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def upstream(version: str) -> str:
    """Without epoch and Debian revision."""
    return version.rpartition(":")[2].rpartition("-")[0] or version.rpartition(":")[2]


def timestamp(tree: Path) -> int:
    command = ["dpkg-parsechangelog", "-l", str(tree / "debian/changelog"), "-S", "Timestamp"]
    return int(subprocess.check_output(command))
