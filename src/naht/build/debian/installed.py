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
    "${db:Status-Status}\t${Architecture}\t${Version}\t${source:Package}\t${source:Version}"
    "\t${Package}\n"
)


@dataclass(frozen=True)
class Installed:
    package: str
    version: str
    source: str
    source_version: str  # of a rebuild without a source change (+b1): that of its source


def source_of_installed(package: str) -> Installed:
    for line in _query(check_name(package)):
        status, architecture, version, source, source_version, _ = line.split("\t")
        if status == "installed" and architecture in ("amd64", "all"):
            names = check_name(source), check_version(source_version)
            return Installed(package, version, *names)
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
    for line in _query("*"):
        status, architecture, _, name, source_version, package = line.split("\t")
        if (status, architecture, name, source_version) == ("installed", "amd64", source, version):
            yield package, tuple(Path(path) for path in _run("--listfiles", f"{package}:amd64"))


def _query(package: str) -> list[str]:
    return _run("--show", f"--showformat={_FORMAT}", package)


def _run(*arguments: str) -> list[str]:
    command = ["dpkg-query", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=60
        )
    except FileNotFoundError as error:
        raise ToolError("dpkg-query is not installed.", "Run this on a Debian host.") from error
    return done.stdout.splitlines()
