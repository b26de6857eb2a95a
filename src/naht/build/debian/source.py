"""SourcePackage: one version of a source package, downloaded and unpacked. Its patches are taken
off again by naht.build.debian.quilt:

    state_before(source: SourcePackage, patches: Sequence[str], into: Path) -> TreePair

Refuses files whose digests are not those of the description (.dsc); who vouches for the
description is apt's matter. Refuses trees with devices, pipes or sockets, and those whose notes of
applied patches lead elsewhere.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.debian.control_files import paragraphs
from naht.build.debian.patch_stack import PatchStack, series_entries
from naht.build.debian.versions import check_name, check_version
from naht.errors import BuildRefusedError, HostileInputError, ToolError, UsageError

_TREE = "tree"
_UNPACK_TIMEOUT = 1800.0
_LARGEST_DESCRIPTION = 1 << 20
_QUILT_FUZZ = 2  # of quilt itself, which such packages call when they are built
_AGAIN = "Get the source package again; if it stays so, it is damaged or not to be trusted."


@dataclass(frozen=True)
class SourcePackage:
    name: str
    version: str
    description: Path  # the .dsc, beside the files that it names
    tree: Path  # unpacked, with all its patches applied; nobody writes to it

    @property
    def format(self) -> str:
        return source_format(self.tree)

    @cached_property
    def binaries(self) -> tuple[str, ...]:
        """Names of the binary packages that are built from it."""
        listed = _description(self.description).get("binary", "").replace(",", " ").split()
        return tuple(check_name(name) for name in listed)


def source_format(tree: Path) -> str:
    said = tree / "debian" / "source" / "format"
    return said.read_text(errors="replace").strip() if said.is_file() else "1.0"


def kept_source(directory: Path) -> SourcePackage:
    """What lies in `directory`: a .dsc, its files, and `tree`."""
    descriptions = sorted(directory.glob("*.dsc"))
    tree = directory / _TREE
    if len(descriptions) != 1 or not tree.is_dir():
        raise UsageError(
            f"{directory} holds no unpacked source package.", f"It needs one .dsc, and `{_TREE}`."
        )
    fields = _description(descriptions[0])
    name, version = check_name(fields["source"]), check_version(fields.get("version", ""))
    return SourcePackage(name, version, descriptions[0], tree)


def unpack(description: Path) -> SourcePackage:
    """Beside the .dsc, with all patches applied."""
    tree = description.parent / _TREE
    partial = tree.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    # It checks the digests of all files; the signature, too, where it knows the signer.
    command = ["dpkg-source", "--no-copy", "-x", str(description), str(partial)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False,
            timeout=_UNPACK_TIMEOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ToolError(
            "dpkg-source is not installed.", "Install it: `apt-get install dpkg-dev`."
        ) from error
    if done.returncode:
        words = " ".join(done.stderr.split("\n")[-3:]).strip()
        raise HostileInputError(f"{description.name} cannot be unpacked: {words}", _AGAIN)
    _check_files(partial, description.name)
    if source_format(partial) == "1.0":
        _apply_by_hand(partial, description.name)
    partial.rename(tree)
    return kept_source(description.parent)


def _check_files(tree: Path, name: str) -> None:
    """tar, when root runs it, makes devices: whoever copied one would copy a disk of this host.
    dpkg-source looks at links below debian/ only, and we write below .pc, too."""
    for directory, folders, files in os.walk(tree):
        for entry in (*folders, *files):
            path = Path(directory, entry)
            inside = path.relative_to(tree)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
                raise HostileInputError(f"{inside} in {name} is a device, pipe or socket.", _AGAIN)
            if stat.S_ISLNK(mode) and inside.parts[0] == ".pc":
                raise HostileInputError(f"{inside} in {name} is a link.", _AGAIN)


def _apply_by_hand(tree: Path, name: str) -> None:
    """Packages of the first format put their patches on while they are built."""
    if (tree / "debian/patches/00list").is_file():
        raise BuildRefusedError(
            "no-separate-patches",
            f"{name} keeps its changes for dpatch.",
            "Build both versions yourself, and use `naht build native`.",
        )
    stack = PatchStack.of(tree)
    for patch, options in series_entries(tree / "debian/patches/series"):
        strip = 0 if options in (["-p0"], ["-p", "0"]) else 1
        if patch not in stack.applied and not stack.push(patch, strip=strip, fuzz=_QUILT_FUZZ):
            raise HostileInputError(f"{patch} of {name} cannot be applied.", _AGAIN)


def _description(path: Path) -> dict[str, str]:
    """A signed .dsc has a paragraph about the signature before its own."""
    if path.stat().st_size > _LARGEST_DESCRIPTION:
        raise HostileInputError(f"{path} is too large for a description.", _AGAIN)
    found = (p for p in paragraphs(path.read_text(errors="replace")) if "source" in p)
    try:
        return next(found)
    except StopIteration:
        raise HostileInputError(f"{path} describes no source package.", _AGAIN) from None
