"""Debian source packages of a few files, with patches, made by the distribution's own tools; and a
local archive that apt can ask."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from naht.build.debian.versions import upstream_version, without_epoch

DAY = "Mon, 0{} Jan 2024 12:00:00 +0000"
_CONTROL = """\
Source: {name}
Maintainer: n <n@n>
Standards-Version: 4.6.2

Package: {name}-tools
Architecture: any
Description: small

Package: lib{name}1
Architecture: any
Description: small
"""


@dataclass(frozen=True)
class Patch:
    name: str
    files: Mapping[str, str | None]  # new contents; None: removed
    header: str = "Description: small\n"


@dataclass(frozen=True)
class Release:
    version: str
    notes: str
    patches: Sequence[Patch] = ()  # all that it has


@dataclass
class SmallSource:
    """A package with its history: each release is a source package of its own."""

    name: str
    files: Mapping[str, str]
    releases: list[Release] = field(default_factory=list)  # oldest first
    format: str = "3.0 (quilt)"

    def build(self, version: str, into: Path) -> Path:
        """The .dsc."""
        into.mkdir(parents=True, exist_ok=True)
        tree = into / f"{self.name}-{upstream_version(version)}"
        shutil.rmtree(tree, ignore_errors=True)
        _write(tree, self.files)
        if self.format != "3.0 (native)":
            self._pack_upstream(tree, version)
        self._write_debian(tree, version)
        run("dpkg-source", "-b", tree.name, folder=into)
        shutil.rmtree(tree)
        return into / f"{self.name}_{without_epoch(version)}.dsc"

    def _pack_upstream(self, tree: Path, version: str) -> None:
        orig = tree.parent / f"{self.name}_{upstream_version(version)}.orig.tar.gz"
        if not orig.exists():
            run("tar", "-czf", orig.name, tree.name, folder=tree.parent)

    def _write_debian(self, tree: Path, version: str) -> None:
        place = next(i for i, each in enumerate(self.releases) if each.version == version)
        known = self.releases[: place + 1]
        debian = {
            "debian/changelog": "\n".join(reversed([self._entry(i) for i in range(len(known))])),
            "debian/control": _CONTROL.format(name=self.name),
            "debian/rules": "#!/usr/bin/make -f\n%:\n\ttrue\n",
        }
        if self.format != "1.0":
            debian["debian/source/format"] = self.format + "\n"
        if patches := known[-1].patches:
            debian["debian/patches/series"] = "# small\n" + "".join(f"{p.name}\n" for p in patches)
            debian |= {f"debian/patches/{name}": d for name, d in diffs(self.files, patches)}
        _write(tree, debian)

    def _entry(self, place: int) -> str:
        release = self.releases[place]
        return (
            f"{self.name} ({release.version}) stable; urgency=medium\n\n{release.notes}\n"
            f" -- n <n@n>  {DAY.format(place + 1)}\n"
        )


def diffs(files: Mapping[str, str], patches: Sequence[Patch]) -> list[tuple[str, str]]:
    state: dict[str, str | None] = dict(files)
    made = []
    for patch in patches:
        text = patch.header
        for path, new in patch.files.items():
            text += _diff(path, state.get(path), new)
            state[path] = new
        made.append((patch.name, text))
    return made


def _diff(path: str, old: str | None, new: str | None) -> str:
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    return "".join(lines)


def archive(root: Path, binaries: Sequence[Path] = ()) -> str:
    """Source entries, in deb822 form, for all source packages under `root`/pool."""
    for binary in binaries:
        shutil.copy2(binary, root / "pool")
    for tool, index in (("dpkg-scansources", "Sources"), ("dpkg-scanpackages", "Packages")):
        more = ["--multiversion"] if index == "Packages" else []
        done = subprocess.run(
            [tool, *more, "pool"], cwd=root, capture_output=True, text=True, check=True
        )
        (root / index).write_text(done.stdout)
    return f"Types: deb deb-src\nURIs: file:{root}\nSuites: ./\nTrusted: yes\n"


def run(*command: str, folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
