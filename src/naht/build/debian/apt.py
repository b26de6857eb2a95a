"""apt in a configuration of its own: asks the archives that this host trusts, with its keys and
proxies, and keeps all that it writes under one directory.

Refuses to change anything on the host, and to skip apt's checks of signatures and digests. Mixed
answers are errors: an archive out of reach may be the one with the security update.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from naht.build.debian.control_files import paragraphs
from naht.build.debian.versions import check_name, check_version, version_key, without_epoch
from naht.errors import ToolError, UsageError

ARCHITECTURE = "amd64"
_GONE = r"\b404\b|File not found|Can not find version|Unable to find a source"
_QUICK, _LONG = 120.0, 3600.0  # seconds
# Hooks and extra indexes of the host's configuration serve the host; they must not run here.
_CONFIGURATION = """\
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources.list.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb-src::Contents-dsc::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Post-Invoke-Stats;
"""


class GoneFromArchiveError(ToolError):
    """No archive has the files (any more); asking again does not help."""


@dataclass(frozen=True)
class Offered:
    """A version of a source package, and the suites that list it."""

    version: str
    suites: tuple[str, ...]

    @property
    def is_security(self) -> bool:
        return any(suite.endswith("-security") for suite in self.suites)


@dataclass(frozen=True)
class OfferedBinary:
    package: str
    version: str


class PrivateApt:
    """`entries`: deb822 source entries, of which naht.build.debian.apt_entries has the host's.
    `options`: of apt, NAME=VALUE."""

    def __init__(self, root: Path, entries: str, options: Sequence[str] = ()) -> None:
        self._options = [word for option in options for word in ("-o", option)]
        self._root = root.absolute()
        self.entries = entries
        for part in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        (self._root / "status").touch()
        (self._root / "sources.list.d" / "naht.sources").write_text(entries)
        self._configuration = self._root / "apt.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(root=self._root, architecture=ARCHITECTURE)
        )
        self._updated = False

    def update(self) -> None:
        done = self.run("apt-get", "update", "-qq", seconds=_LONG)
        if done.returncode:
            raise ToolError(
                f"The archives cannot be asked: {_last_words(done.stderr)}",
                "Check the network and the source entries in /etc/apt, then run it again.",
            )
        self._updated = True

    def versions(self, source: str) -> list[Offered]:
        """What the archives list, newest first. Some may lack the files all the same."""
        self._ensure_updated()
        lines = self.run("apt-cache", "madison", check_name(source)).stdout.splitlines()
        suites: dict[str, list[str]] = {}
        for line in lines:
            if found := re.fullmatch(r" *\S+ \| *(\S+) \| \S+ (\S+) Sources", line):
                suites.setdefault(check_version(found[1]), []).append(found[2].partition("/")[0])
        offered = [Offered(version, tuple(where)) for version, where in suites.items()]
        return sorted(offered, key=lambda each: version_key(each.version), reverse=True)

    def newest(self, source: str) -> Offered:
        """The newest of the release: security updates move into it at point releases."""
        if not (offered := self.versions(source)):
            raise UsageError(
                f"The archives have no source package {source}.",
                "Name the source package, not a binary one: `dpkg-query -W -f "
                "'${source:Package}' NAME` tells it.",
            )
        return offered[0]

    def download_source(self, source: str, version: str, into: Path) -> Path:
        """The .dsc, beside its files. What is there already and right is not loaded again."""
        self._ensure_updated()
        wanted = f"{check_name(source)}={check_version(version)}"
        done = self.run(
            "apt-get", "source", "-qq", "--download-only", "--only-source", wanted,
            folder=into, seconds=_LONG,
        )  # fmt: skip
        description = into / f"{source}_{without_epoch(version)}.dsc"
        if not done.returncode and description.is_file():
            return description
        gone = re.search(_GONE, done.stderr)
        kind = GoneFromArchiveError if gone else ToolError
        raise kind(
            f"{source} {version} cannot be had: {_last_words(done.stderr)}",
            f"The archives list {self._listing(source)}, and may have lost older files. "
            "Choose another version.",
        )

    def binaries(self, packages: Sequence[str], source: str, version: str) -> list[OfferedBinary]:
        """Those of `packages` that were built for one architecture from exactly this source."""
        self._ensure_updated()
        names = [check_name(package) for package in packages]
        found = set()
        for fields in paragraphs(self.run("apt-cache", "show", "--", *names).stdout):
            built_from = _source_of(fields)
            if built_from == (source, version) and fields.get("architecture") == ARCHITECTURE:
                found.add(OfferedBinary(fields["package"], check_version(fields["version"])))
        return sorted(found, key=lambda each: each.package)

    def download_binary(self, binary: OfferedBinary, into: Path) -> Path | None:
        """None: the archives list it and have not got it (any more)."""
        wanted = f"{binary.package}={binary.version}"
        self.run("apt-get", "download", "-qq", wanted, folder=into, seconds=_LONG)
        version = binary.version.replace(":", "%3a")
        file = into / f"{binary.package}_{version}_{ARCHITECTURE}.deb"
        return file if file.is_file() else None

    def run(
        self, tool: str, *arguments: str, folder: Path | None = None, seconds: float = _QUICK
    ) -> subprocess.CompletedProcess[str]:
        command = [tool, "-c", str(self._configuration), *self._options, *arguments]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        try:
            return subprocess.run(
                command, cwd=folder or self._root, capture_output=True, text=True,
                errors="replace", timeout=seconds, check=False, env=environment,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ToolError(f"{tool} is not installed.", "Build on a Debian release.") from error
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"{tool} had no answer in {seconds:.0f} s.", "Try again.") from error

    def _ensure_updated(self) -> None:
        if not self._updated:
            self.update()

    def _listing(self, source: str) -> str:
        offered = self.versions(source)
        return ", ".join(f"{each.version} ({', '.join(each.suites)})" for each in offered) or "none"


def _source_of(fields: dict[str, str]) -> tuple[str, str]:
    """A rebuild without a source change (+b1) names the version of its source."""
    name, _, version = fields.get("source", fields.get("package", "")).partition(" ")
    return name, version.strip("()") or fields.get("version", "")


def _last_words(text: str) -> str:
    lines = text.splitlines()
    said = [line for mark in ("E:", "W:") for line in lines if line.startswith(mark)]
    return said[0].strip() if said else "it gives no reason."
