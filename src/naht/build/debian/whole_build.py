"""The whole build of one state of a source package, out of the cache or made now.

Refuses a package that builds neither without its documentation nor with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.cache import Cache
from naht.build.debian.changelog import read_changelog
from naht.build.debian.clean_root import (
    COMPLETE,
    QUICK,
    CleanRoot,
    base_root,
    host_root,
    with_build_dependencies,
)
from naht.build.debian.package_build import BuiltPackage, build_package
from naht.build.debian.versions import upstream_version
from naht.build.native.request import Progress
from naht.errors import ToolError


@dataclass(frozen=True)
class SourceState:
    """tree: the source as it is to be built. description: a .dsc that names its build dependencies.
    identity: what tells this state from others of the same name and version; "" for the archive's.
    """

    name: str
    version: str
    tree: Path
    description: Path
    identity: str = ""


@dataclass(frozen=True)
class Workshop:
    """release, entries: of the distribution, as deb822 text for apt."""

    cache: Cache
    release: str
    entries: str
    jobs: int
    progress: Progress
    in_place: bool = False

    def whole_build(self, state: SourceState) -> BuiltPackage:
        if self.in_place:
            return self._build(state, host_root(), COMPLETE)
        base = base_root(self.cache, self.release, self.entries, self.progress)
        failure: ToolError | None = None
        for profiles in (QUICK, COMPLETE):
            try:
                return self._build_once(state, base, profiles)
            except ToolError as error:
                failure = failure or error
                self.progress(f"{state.name} does not build with {', '.join(profiles)}.")
        assert failure is not None  # noqa: S101
        raise failure

    def _build_once(
        self, state: SourceState, base: CleanRoot, profiles: tuple[str, ...]
    ) -> BuiltPackage:
        """What failed before would take as long to fail again."""
        root = with_build_dependencies(self.cache, base, state.description, self.progress, profiles)
        failed = self.cache.root / "builds" / f".{state.name}-{_key(root, state)}.failed"
        if failed.exists():
            raise ToolError(
                f"{state.name} {state.version} did not build before.",
                f"See {failed.parent}/{failed.stem[1:]}/build.log; remove {failed} to try again.",
            )
        try:
            return self._build(state, root, profiles)
        except ToolError:
            failed.touch()
            raise

    def _build(
        self, state: SourceState, root: CleanRoot, profiles: tuple[str, ...]
    ) -> BuiltPackage:
        with self.cache.entry("builds", f"{state.name}-{_key(root, state)}") as entry:
            tree_name = f"{state.name}-{upstream_version(state.version)}"
            if entry.complete:
                self.progress(f"{state.name} {state.version} was built before")
                return BuiltPackage(entry.path, root, tree_name)
            self.progress(f"building {state.name} {state.version} ({entry.path}/build.log)…")
            built = build_package(
                entry, state.tree, tree_name, root,
                timestamp=read_changelog(state.tree)[0].timestamp, jobs=self.jobs,
                profiles=profiles,
            )  # fmt: skip
            entry.seal()
            return built


def _key(root: CleanRoot, state: SourceState) -> str:
    text = f"{root.key}{state.name}{state.version}{state.identity}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
