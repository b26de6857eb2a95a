"""One package of the corpus, ready for its cases: fetched, unpacked, its clean root made, built
whole and recorded. All of it is cached; a package that is ready costs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from naht.build.debian import whole_build
from naht.build.debian.archive import host_archive
from naht.build.debian.cache import Cache
from naht.build.debian.package_build import BuiltPackage
from naht.build.debian.source import SourcePackage
from naht.build.native.request import Progress
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
        entries = self.entries or archive.clean_root_entries()
        shop = whole_build.Workshop(self.cache, self.suite, entries, self.jobs, progress)
        state = whole_build.SourceState(
            source.name, source.version, source.tree, source.description
        )
        with clock.stage("build"):
            built = shop.whole_build(state)
        return Ready(source, built, clock.seconds)

    def size_when_built(self, package: str) -> int:
        """How many tools its whole build ran; 0 when it is not in the cache."""
        pattern = f"{package}-{'[0-9a-f]' * 24}/complete"
        built = [seal.parent for seal in (self.cache.root / "builds").glob(pattern)]
        return max((len(os.listdir(b / "recorder/records")) for b in built), default=0)  # noqa: PTH208


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
