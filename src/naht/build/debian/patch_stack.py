"""The stack of patches that is applied to an unpacked source tree, as quilt and dpkg-source keep it
in `.pc`: what each patch touched is there as it was before, so that taking a patch off is exact.

Refuses to guess: a patch goes on without fuzz or not at all. Works on trees that the caller may
change; reads and writes nothing outside of them, whatever names and links the tree holds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from naht.errors import HostileInputError, ToolError

_PATCH_TIMEOUT = 120.0
_MOST_PATCHES = 5000
ENVIRONMENT = {"LC_ALL": "C", "PATCH_GET": "0", "PATH": os.defpath}
_AGAIN = "Get the source package again; if it stays so, it is damaged or not to be trusted."


@dataclass
class PatchStack:
    tree: Path
    applied: list[str] = field(default_factory=list)  # the order in which they went on

    @classmethod
    def of(cls, tree: Path) -> PatchStack:
        """Empty for a tree without patches."""
        listing = tree / ".pc" / "applied-patches"
        if not listing.is_file():
            return cls(tree, [])
        names = listing.read_text(errors="surrogateescape").splitlines()
        if len(names) > _MOST_PATCHES or len(set(names)) != len(names):
            raise HostileInputError(f"{listing} lists too much, or a patch twice.", _AGAIN)
        for name in names:
            _check_relative(name)
        return cls(tree, names)

    def touched(self, name: str) -> dict[str, Path]:
        """The files that a patch changes, made or removed → what each was before it."""
        root = self._backups(name)
        found = {}
        for folder, _, files in os.walk(root):
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink() and path.name != ".timestamp":
                    found[path.relative_to(root).as_posix()] = path
        return found

    def files(self, names: Iterable[str]) -> set[str]:
        return {file for name in names for file in self.touched(name)}

    def above(self, names: Collection[str]) -> list[str]:
        """These, and all that went on later onto the same files, in the order they went on."""
        found, files = [], set[str]()
        for name in self.applied:
            touched = self.touched(name).keys()
            if name in names or touched & files:
                found.append(name)
                files |= touched
        return found

    def pop(self, name: str) -> None:
        """All patches above it that touch the same files must be off already."""
        for relative, before in self.touched(name).items():
            place = self.place(relative)
            # Empty is how quilt says that there was no such file.
            if before.stat().st_size:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)
                shutil.copy2(before, place)
            else:
                place.unlink(missing_ok=True)
        shutil.rmtree(self._backups(name), ignore_errors=True)
        self.applied.remove(name)
        self._save()

    def push(self, name: str, *, at: int | None = None, strip: int = 1, fuzz: int = 0) -> bool:
        """False: it does not go on, and the tree is as it was. `at`: its place in the order."""
        self.applied.insert(len(self.applied) if at is None else at, name)
        done = self._patch(name, strip, fuzz)
        if not done:
            self.pop(name)
        self._save()
        return done

    def _patch(self, name: str, strip: int, fuzz: int) -> bool:
        # As dpkg-source calls it, so that what it could apply, we can.
        command = [
            "patch", "-s", "-t", "-F", str(fuzz), "-N", f"-p{strip}", "-u", "-V", "never", "-E",
            "-b", "-B", f".pc/{name}/", "--reject-file=-",
        ]  # fmt: skip
        try:
            with self.file(name).open("rb") as diff:
                done = subprocess.run(
                    command, stdin=diff, cwd=self.tree, env=ENVIRONMENT, capture_output=True,
                    timeout=_PATCH_TIMEOUT, check=False,
                )  # fmt: skip
        except FileNotFoundError as error:
            raise ToolError(
                f"{error.filename} is missing.", "Install `patch` (`apt-get install patch`)."
            ) from error
        return done.returncode == 0

    def file(self, name: str) -> Path:
        return self.place(f"debian/patches/{name}")

    def place(self, relative: str) -> Path:
        """A path inside the tree that no link leads out of."""
        _check_relative(relative)
        path = self.tree
        for part in PurePosixPath(relative).parent.parts:
            path /= part
            if path.is_symlink():
                raise HostileInputError(f"{relative} goes through the link {path}.", _AGAIN)
        return path / PurePosixPath(relative).name

    def forget(self, name: str) -> None:
        """As if the source package had never had this (taken off) patch."""
        series = self.place(f"debian/patches/{self.series_name()}")
        lines = series.read_text(errors="surrogateescape").splitlines(keepends=True)
        kept = [line for line in lines if _words(line)[:1] != [name]]
        series.write_text("".join(kept), errors="surrogateescape")
        self.file(name).unlink(missing_ok=True)

    def list_in_series(self, name: str) -> None:
        """At the end."""
        series = self.place(f"debian/patches/{self.series_name()}")
        text = series.read_text(errors="surrogateescape") if series.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        series.write_text(f"{text}{name}\n", errors="surrogateescape")

    def series_name(self) -> str:
        said = self.tree / ".pc" / ".quilt_series"
        name = said.read_text(errors="replace").strip() if said.is_file() else ""
        return name if re.fullmatch(r"[a-z0-9.-]*series", name) else "series"

    def _backups(self, name: str) -> Path:
        return self.place(f".pc/{name}")

    def _save(self) -> None:
        text = "".join(f"{name}\n" for name in self.applied)
        listing = self.tree / ".pc" / "applied-patches"
        listing.parent.mkdir(exist_ok=True)
        listing.write_text(text, errors="surrogateescape")


def series_entries(series: Path) -> list[tuple[str, list[str]]]:
    """Patches and their options; nothing where there is no such file."""
    if not series.is_file():
        return []
    lines = (_words(line) for line in series.read_text(errors="surrogateescape").splitlines())
    return [(words[0], words[1:]) for words in lines if words]


def _words(line: str) -> list[str]:
    return re.sub(r"(^|\s+)#.*$", "", line.strip()).split()


def _check_relative(name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise HostileInputError(f"The path {name!r} leads out of the source tree.", _AGAIN)
