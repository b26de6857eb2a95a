"""Makes clean roots with the distribution's own tool (mmdebstrap), and layers with the build
dependencies of one source package on top.

Refuses to change anything on the host. Both are kept in the cache and never written again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.cache import Cache, Entry
from naht.build.debian.enclosure import ENVIRONMENT, Enclosure, Layered
from naht.build.native.request import Progress
from naht.errors import ToolError

QUICK = ("nocheck", "nodoc")  # build profiles: the documentation toolchains alone take minutes
COMPLETE = ("nocheck",)  # for packages that do not build without their documentation
_VARIANT = "buildd"
_INCLUDED = ("fakeroot", "debhelper")  # what nearly every package asks for
_HOST = (Path("/"),)
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true"}


@dataclass(frozen=True)
class CleanRoot:
    """Layers from top to bottom; together they are the root file system of a build."""

    layers: tuple[Path, ...]
    key: str

    def enclosure(
        self, scratch: Path, mounts: tuple[Layered, ...] = (), *, network: bool = False
    ) -> Enclosure:
        """`scratch` takes all that is written outside of `mounts`."""
        (scratch / "root").mkdir(parents=True, exist_ok=True)
        lower = tuple(str(layer) for layer in self.layers)
        (scratch / "layer").mkdir(exist_ok=True)
        upper, work = (str(scratch / "layer" / name) for name in ("upper", "work"))
        on_host = self.layers == _HOST
        if not on_host:
            for directory in (upper, work):
                Path(directory).mkdir(exist_ok=True)
        root = Layered(str(scratch / "root"), lower, upper, work, in_memory=on_host)
        return Enclosure(root, mounts, network)


def host_root() -> CleanRoot:
    """This host itself: its compilers, headers and libraries, whatever they are."""
    installed = subprocess.run(
        ["dpkg-query", "--show"], capture_output=True, text=True, check=False
    ).stdout
    return CleanRoot(_HOST, _digest("host", installed))


def base_root(cache: Cache, suite: str, sources: str, progress: Progress) -> CleanRoot:
    """Essential packages, compilers and the archive's lists. `sources`: deb822 entries."""
    key = _digest("root", suite, sources, _VARIANT, *_INCLUDED)
    with cache.entry("roots", key) as entry:
        if not entry.complete:
            progress(f"making a clean {suite} root…")
            _debootstrap(entry, suite, sources)
            entry.seal()
    return CleanRoot((entry.path / "root",), key)


def _debootstrap(entry: Entry, suite: str, sources: str) -> None:
    entry.open()
    listed = entry.path / "archive.sources"
    listed.write_text(sources)
    log = entry.path / "log"
    command = [
        "mmdebstrap", f"--variant={_VARIANT}", f"--include={','.join(_INCLUDED)}",
        "--skip=cleanup/apt/lists", suite, str(entry.path / "root"), str(listed),
    ]  # fmt: skip
    _run_tool(command, log, "Install mmdebstrap (`apt-get install mmdebstrap`).")


def _run_tool(command: list[str], log: Path, next_step: str) -> None:
    try:
        with log.open("wb") as stream:
            done = subprocess.run(command, stdout=stream, stderr=stream, check=False)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed.", next_step) from error
    if done.returncode:
        raise ToolError(
            f"{command[0]} failed (status {done.returncode}).", f"Its output is in {log}."
        )


def with_build_dependencies(
    cache: Cache,
    base: CleanRoot,
    description: Path,
    progress: Progress,
    profiles: tuple[str, ...] = QUICK,
) -> CleanRoot:
    """`description`: the .dsc of the source package, beside its files."""
    key = _digest(base.key, ",".join(profiles), _build_dependencies(description))
    with cache.entry("dependencies", key) as entry:
        if not entry.complete:
            progress("installing the build dependencies in the clean root…")
            _install(entry, base, description, profiles)
            entry.seal()
    return CleanRoot((entry.path / "upper", *base.layers), key)


def _install(entry: Entry, base: CleanRoot, description: Path, profiles: tuple[str, ...]) -> None:
    source = Layered("/naht/source", (str(description.parent),), read_only=True)
    enclosure = base.enclosure(entry.path, (source,), network=True)
    log = entry.path / "log"
    command = [
        "apt-get", "build-dep", "--arch-only", "-y", "-qq", "--no-install-recommends",
        f"-P{','.join(profiles)}",
        f"/naht/source/{description.name}",
    ]  # fmt: skip
    if enclosure.run(command, log, environment={**ENVIRONMENT, **_QUIET}):
        raise ToolError(
            f"The build dependencies of {description.stem} can't be installed.",
            f"Its output is in {log}.",
        )
    (entry.path / "layer/upper").rename(entry.path / "upper")
    for name in ("layer", "root"):
        shutil.rmtree(entry.path / name, ignore_errors=True)


def _build_dependencies(description: Path) -> str:
    lines, kept = [], False
    for line in description.read_text(errors="replace").splitlines():
        if not line.startswith(" "):
            kept = line.startswith("Build-")
        if kept:
            lines.append(line)
    return "\n".join(lines)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
