"""The host's own apt source entries for one release: which archives, suites and keys it trusts.

Refuses to add anything to them but the wish for sources beside binaries; entries of other suites
and vendors are left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from naht.build.debian.control_files import paragraphs
from naht.errors import ToolError, UsageError

# What belongs to a stable release; -debug archives hold the debug symbols of the same packages.
_PARTS = ("", "-updates", "-security", "-proposed-updates")
_DROPPED = {"architectures", "arch"}  # of the host; a build has its own
_OFF = {"no", "false", "0", "without", "off", "disable"}


def host_entries(release: str) -> str:
    """deb822 text with `deb` and `deb-src`; never empty."""
    text = release_entries(_host_files(), release)
    if not text:
        raise UsageError(
            f"apt on this host has no source entry for {release}.",
            "Add one to /etc/apt/sources.list.d, and its -security suite.",
        )
    return text


def host_release() -> str:
    path = Path("/etc/os-release")
    match = re.search(
        r'^VERSION_CODENAME="?([a-z]+)"?$', path.read_text() if path.exists() else "", re.MULTILINE
    )
    if not match:
        raise UsageError("This host's release has no codename.", "Build on a Debian release.")
    return match[1]


def release_entries(files: Iterable[str], release: str) -> str:
    suites = {f"{release}{part}{debug}" for part in _PARTS for debug in ("", "-debug")}
    entries = [_entry(fields, suites) for text in files for fields in _stanzas(text)]
    return "\n\n".join(entry for entry in entries if entry) + ("\n" if any(entries) else "")


def _stanzas(text: str) -> list[dict[str, str]]:
    if re.search(r"^Types:", text, re.MULTILINE | re.IGNORECASE):
        return list(paragraphs(text))
    return [fields for line in text.splitlines() if (fields := _one_line(line.strip()))]


def _one_line(line: str) -> dict[str, str]:
    match = re.fullmatch(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+?)\s*(#.*)?", line)
    if not match:
        return {}
    fields = {"types": "deb", "uris": match[2], "suites": match[3], "components": match[4]}
    for option in (match[1] or "").split():
        name, _, value = option.partition("=")
        fields[name.lower()] = value.replace(",", " ")
    return fields


def _entry(fields: dict[str, str], suites: set[str]) -> str:
    wanted = [suite for suite in fields.get("suites", "").split() if suite in suites]
    is_binary = "deb" in fields.get("types", "").split()
    if not wanted or not is_binary or fields.get("enabled", "yes").lower() in _OFF:
        return ""
    # Debug archives hold no sources: asking for them would fail the update.
    types = "deb" if all(suite.endswith("-debug") for suite in wanted) else "deb deb-src"
    changed = {**fields, "types": types, "suites": " ".join(wanted)}
    lines = (f"{_spelt(k)}: {v}" for k, v in changed.items() if k not in _DROPPED)
    return "\n".join(lines)


def _spelt(name: str) -> str:
    return "URIs" if name == "uris" else name.title()


def _host_files() -> list[str]:
    command = ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f"]
    try:
        output = subprocess.run(
            [*command, "PARTS", "Dir::Etc::sourceparts/d"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError("apt-config does not run.", "Build on a Debian release.") from error
    paths = dict(re.findall(r"^(\w+)='([^']*)'$", output, re.MULTILINE))
    parts = Path(paths.get("PARTS", "/etc/apt/sources.list.d"))
    named = [Path(paths.get("LIST", "/etc/apt/sources.list"))]
    files = [*named, *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    return [file.read_text(errors="replace") for file in files if file.is_file()]
