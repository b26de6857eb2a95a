"""Source packages and their binaries out of the archives, kept in the build cache.

Refuses to hand out what was only half downloaded. What the cache has needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.apt import Offered, PrivateApt
from naht.build.debian.apt_entries import host_entries, host_release
from naht.build.debian.cache import Cache
from naht.build.debian.source import SourcePackage, kept_source, unpack
from naht.build.debian.versions import as_file_name, check_name, check_version
from naht.build.native.request import Progress


@dataclass(frozen=True)
class Binaries:
    files: tuple[Path, ...]  # .deb, for this architecture; with debug symbols where they are had
    missing: tuple[str, ...]  # listed by an archive that has not got them


@dataclass(frozen=True)
class Archive:
    cache: Cache
    apt: PrivateApt
    release: str
    progress: Progress

    def versions(self, source: str) -> list[Offered]:
        return self.apt.versions(source)

    def newest_security_version(self, source: str) -> str:
        """Of all suites of the release: a point release takes security updates in."""
        return self.apt.newest(source).version

    def clean_root_entries(self) -> str:
        return self.apt.entries

    def fetch_source(self, name: str, version: str) -> SourcePackage:
        key = f"{check_name(name)}_{as_file_name(check_version(version))}"
        with self.cache.entry("sources", key) as entry:
            if not entry.complete:
                self.progress(f"getting the source of {name} {version}…")
                unpack(self.apt.download_source(name, version, entry.path))
                entry.seal()
            return kept_source(entry.path)

    def fetch_binaries(self, source: SourcePackage) -> Binaries:
        """Exactly those that were built from this version of the source."""
        key = f"{source.name}_{as_file_name(source.version)}"
        with self.cache.entry("binaries", key) as entry:
            if entry.complete:
                return Binaries(tuple(sorted(entry.path.glob("*.deb"))), ())
            self.progress(f"getting the binary packages of {source.name} {source.version}…")
            names = [f"{name}{kind}" for name in source.binaries for kind in ("", "-dbgsym")]
            offered = self.apt.binaries(names, source.name, source.version)
            found = {each.package: self.apt.download_binary(each, entry.path) for each in offered}
            missing = tuple(name for name, file in found.items() if file is None)
            if found and not missing:
                entry.seal()
            return Binaries(tuple(file for file in found.values() if file), missing)


def host_archive(cache: Cache, progress: Progress, release: str | None = None) -> Archive:
    """With the entries that apt on this host trusts for its release."""
    name = release or host_release()
    apt = PrivateApt(cache.root / "apt" / name, host_entries(name))
    return Archive(cache, apt, name, progress)
