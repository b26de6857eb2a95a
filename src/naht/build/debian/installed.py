"""What dpkg has installed on this host: the source package, and its version, of a binary package.

Reads only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.versions import check_name, check_version, version_key
from naht.errors import NothingToDoError, ToolError, UsageError

_FORMAT = (
    "${db:Status-Status}\t${Architecture}\t${Package}\t${Version}\t${source:Package}"
    "\t${source:Version}\n"
)


@dataclass(frozen=True)
class Installed:
    package: str
    version: str
    source: str
    source_version: str  # of a rebuild without a source change (+b1): that of its source


def source_of_installed(package: str) -> Installed:
    for known in _installed(check_name(package)):
        check_name(known.source), check_version(known.source_version)
        return known
    raise UsageError(
        f"No package {package} is installed here.",
        "`dpkg -S FILE` tells which package a file belongs to.",
    )


def newer_than_installed(installed: Installed, newest: str) -> str:
    """`newest`, if it is newer than what is installed."""
    if version_key(newest) <= version_key(installed.source_version):
        raise NothingToDoError(
            f"{installed.package} comes from {installed.source} {installed.source_version}, and "
            f"the archives have nothing newer ({newest}).",
            "For processes that still run code from before an upgrade, name both versions: "
            "naht build debian SOURCE --from VERSION --to VERSION.",
        )
    return newest


def packages_installed_from(source: str, version: str) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """(package, its files) of what is installed here from exactly this version of a source."""
    for known in _installed("*"):
        if (known.source, known.source_version) == (source, version):
            files = _run("--listfiles", f"{known.package}:amd64")
            yield known.package, tuple(Path(path) for path in files)


def _installed(pattern: str) -> Iterator[Installed]:
    for line in _run("--show", f"--showformat={_FORMAT}", pattern):
        status, architecture, *fields = line.split("\t")
        if status == "installed" and architecture in ("amd64", "all"):
            yield Installed(*fields)


def _run(*arguments: str) -> list[str]:
    command = ["dpkg-query", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=60
        )
    except FileNotFoundError as error:
        raise ToolError("dpkg-query is not installed.", "Run this on a Debian host.") from error
    return done.stdout.splitlines()
