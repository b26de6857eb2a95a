"""Fetches and unpacks a Debian source package with apt, in a configuration of its own.

Everything that apt writes stays under one directory. The archives, suites and keys are those that
the host already trusts: its own source entries are read and rewritten from binary to source
packages, and apt verifies signatures and digests as always. Refuses to write outside the
directory, to use an entry that the host does not have, and to skip verification.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

APT_TIMEOUT = 45.0
# Post-invoke hooks of the host's configuration refresh host-wide caches; they must not run here.
CONFIGURATION = """\
Dir::State "{root}/state";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources.list.d";
Acquire::Retries "0";
Acquire::http::Timeout "8";
Acquire::https::Timeout "8";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class SourceUnavailableError(Exception):
    """No source package could be had; the text says why, for a person."""


@dataclass(frozen=True)
class SourcePackage:
    name: str
    version: str
    tree: Path  # unpacked, with every patch of debian/patches/series applied

    def series(self) -> list[str]:
        lines = (self.tree / "debian/patches/series").read_text().splitlines()
        return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


class PrivateApt:
    """apt with its lists, caches and source entries under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._configuration = root / "apt.conf"

    def prepare(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(CONFIGURATION.format(root=self._root))
        entries = self._root / "sources.list.d" / "host.sources"
        entries.write_text(source_entries(_host_source_files(), _release_codename()))
        if not entries.read_text():
            raise SourceUnavailableError("apt on this host knows no Debian archive.")

    def update(self) -> None:
        # The error is kept quiet on purpose: one archive out of reach need not matter.
        self._run("apt-get", "update", "-qq")

    def versions(self, package: str) -> list[str]:
        """The versions that the archives offer, newest first."""
        listing = self._run("apt-cache", "showsrc", "--only-source", package).stdout
        found = {line.split()[1] for line in listing.splitlines() if line.startswith("Version: ")}
        return sorted(found, key=_version_key, reverse=True)

    def download(self, package: str, version: str, into: Path) -> Path | None:
        """The path of the .dsc, or None when an archive lists the version but lacks its files."""
        wanted = f"{package}={version}"
        self._run(
            "apt-get", "source", "-qq", "--download-only", "--only-source", wanted, folder=into
        )
        description = into / f"{package}_{version.rsplit(':', maxsplit=1)[-1]}.dsc"
        return description if _is_complete(description) else None

    def _run(
        self, tool: str, *arguments: str, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [tool, "-c", str(self._configuration), *arguments]
        try:
            return subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=APT_TIMEOUT,
                check=False, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise SourceUnavailableError(f"{tool} is not installed.") from error
        except subprocess.TimeoutExpired as error:
            raise SourceUnavailableError(f"{tool} had no answer in {APT_TIMEOUT:.0f} s.") from error


def fetch(package: str, patch: str, work: Path) -> SourcePackage:
    """The newest version that can be had and whose series has `patch`; kept for the next time."""
    work.mkdir(parents=True, exist_ok=True)
    kept = [source for source in _kept_trees(package, work) if patch in source.series()]
    if kept:
        return kept[0]
    apt = PrivateApt(work / "apt")
    apt.prepare()
    apt.update()
    versions = apt.versions(package)
    if not versions:
        raise SourceUnavailableError("The Debian archive cannot be reached.")
    for version in versions:
        description = apt.download(package, version, work)
        if description is None:
            continue
        source = _unpack(package, version, description, work)
        if patch in source.series():
            return source
    raise SourceUnavailableError(f"No version of {package} with {patch} could be downloaded.")


def copy_without(source: SourcePackage, patch: str, destination: Path) -> None:
    """A copy of the tree as it was before that one patch."""
    subprocess.run(["cp", "-a", str(source.tree), str(destination)], check=True)
    with (source.tree / "debian/patches" / patch).open("rb") as content:
        subprocess.run(
            ["patch", "-p1", "--reverse", "--batch", "--silent", "--directory", str(destination)],
            stdin=content, check=True, timeout=30,
        )  # fmt: skip


def source_entries(files: list[str], codename: str) -> str:
    """The host's entries for this Debian release, in deb822 form, asking for sources."""
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    stanzas = [stanza for text in files for stanza in _stanzas(text)]
    kept = [_as_source(stanza, suites) for stanza in stanzas]
    return "\n\n".join(entry for entry in kept if entry) + ("\n" if any(kept) else "")


def _stanzas(text: str) -> list[dict[str, str]]:
    if re.search(r"^Types:", text, re.MULTILINE | re.IGNORECASE):
        blocks = re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE))
        return [_deb822_fields(block) for block in blocks if block.strip()]
    return [fields for line in text.splitlines() if (fields := _one_line_fields(line))]


def _deb822_fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line[:1] in " \t" and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().title()
            fields[name] = value.strip()
    return fields


def _one_line_fields(line: str) -> dict[str, str]:
    match = re.fullmatch(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)(#.*)?", line.strip())
    if not match:
        return {}
    fields = {"Types": "deb", "Uris": match[2], "Suites": match[3], "Components": match[4].strip()}
    for option in (match[1] or "").split():
        name, _, value = option.partition("=")
        fields[name.title()] = value
    return fields


def _as_source(fields: dict[str, str], suites: set[str]) -> str:
    wanted = sorted(suites.intersection(fields.get("Suites", "").split()))
    is_binary = "deb" in fields.get("Types", "").split()
    enabled = fields.get("Enabled", "yes").lower() not in {"no", "false", "0"}
    if not (wanted and is_binary and enabled and "main" in fields.get("Components", "").split()):
        return ""
    changed = {"Types": "deb-src", "Suites": " ".join(wanted), "Components": "main"}
    dropped = {"Architectures", "Arch"}  # say which binaries; sources have none
    lines = {**fields, **changed}.items()
    return "\n".join(f"{name}: {value}" for name, value in lines if name not in dropped)


def _host_source_files() -> list[str]:
    shell = ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS"]
    try:
        output = subprocess.run(
            [*shell, "Dir::Etc::sourceparts/d"], capture_output=True, text=True, check=True
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SourceUnavailableError("apt is not installed.") from error
    paths = dict(re.findall(r"^(\w+)='([^']*)'$", output, re.MULTILINE))
    parts = Path(paths["PARTS"])
    files = [Path(paths["LIST"]), *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    return [file.read_text() for file in files if file.is_file()]


def _release_codename() -> str:
    text = Path("/etc/os-release").read_text()
    match = re.search(r'^VERSION_CODENAME="?(\w+)"?$', text, re.MULTILINE)
    if not match or not re.search(r"^ID=debian$", text, re.MULTILINE):
        raise SourceUnavailableError("This host is not a Debian release.")
    return match[1]


def _is_complete(description: Path) -> bool:
    """All files that the .dsc names are there; apt has checked what it downloaded."""
    if not description.is_file():
        return False
    names = re.findall(r"^ [0-9a-f]{64} \d+ (\S+)$", description.read_text(), re.MULTILINE)
    return bool(names) and all((description.parent / name).is_file() for name in names)


def _unpack(package: str, version: str, description: Path, work: Path) -> SourcePackage:
    tree = work / f"{package}-{version}"
    partial = tree.with_name(tree.name + ".partial")
    for leftover in (tree, partial):
        subprocess.run(["rm", "-rf", str(leftover)], check=True)
    # Digests are checked again; the signature of the archive, which covers the .dsc, apt checked.
    command = ["dpkg-source", "--no-copy", "-x", str(description), str(partial)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        raise SourceUnavailableError(f"{description.name} cannot be unpacked: {result.stderr}")
    partial.rename(tree)
    return SourcePackage(package, version, tree)


def _kept_trees(package: str, work: Path) -> list[SourcePackage]:
    trees = [path for path in work.glob(f"{package}-*") if (path / "debian/patches").is_dir()]
    found = [
        SourcePackage(package, path.name.removeprefix(f"{package}-"), path)
        for path in trees
        if not path.name.endswith(".partial")
    ]
    return sorted(found, key=lambda source: _version_key(source.version), reverse=True)


def _version_key(version: str) -> list[tuple[int, str | int]]:
    """Good enough an order for versions of one package in one release."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]
