"""One package of the corpus, ready for its cases: fetched, unpacked, its clean root made, built whole
and recorded. All of it is cached; a package that is ready costs nothing."""

from __future__ import annotations

import hashlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.cache import Cache
from naht.build.debian.clean_root import COMPLETE, QUICK, base_root, with_build_dependencies
from naht.build.debian.package_build import BuiltPackage, build_package
from naht.build.debian.source import SourcePackage, kept_source
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
    archive: str  # deb822 text: where binary packages come from
    jobs: int

    def ready(self, case: Case, progress: Progress) -> Ready:
        clock = Clock()
        source = clock.measure("fetch", lambda: self._fetch(case))
        base = clock.measure("root", lambda: base_root(
            self.cache, self.suite, self.archive, progress))  # fmt: skip
        failure: ToolError | None = None
        for profiles in (QUICK, COMPLETE):
            root = clock.measure("root", lambda profiles=profiles: with_build_dependencies(
                self.cache, base, source.description, progress, profiles))  # fmt: skip
            try:
                built = clock.measure("build", lambda root=root, profiles=profiles: self._build(
                    source, root, profiles, progress))  # fmt: skip
                return Ready(source, built, clock.seconds)
            except ToolError as error:
                failure = failure or error
        assert failure
        raise failure

    def is_built(self, case: Case) -> bool:
        pattern = f"{case.package}-{'[0-9a-f]' * 24}"
        return any((e / "complete").is_file() for e in (self.cache.root / "builds").glob(pattern))

    def _fetch(self, case: Case) -> SourcePackage:
        return kept_source(
            self.cache.root / "sources" / f"{case.package}_{case.version.replace(':', '%')}"
        )

    def _build(
        self, source: SourcePackage, root, profiles: tuple[str, ...], progress: Progress
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
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def measure(self, stage, work):
        self.stage = stage
        began = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began


def upstream(version: str) -> str:
    """Without epoch and Debian revision."""
    return version.rpartition(":")[2].rpartition("-")[0] or version.rpartition(":")[2]


def timestamp(tree: Path) -> int:
    command = ["dpkg-parsechangelog", "-l", str(tree / "debian/changelog"), "-S", "Timestamp"]
    return int(subprocess.check_output(command))
