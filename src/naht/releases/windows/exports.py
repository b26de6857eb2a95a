"""What Windows' own tools export → facts. Pure; the text is another's, so it is bounded.

Reads: a registry export or `reg query` of HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion;
`Get-HotFix` as CSV, JSON or text; `DISM /English /Online /Get-Packages`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from naht.errors import HostileInputError
from naht.releases.record import ReleaseRecord

MAX_BYTES = 16 << 20

# Hostile text must not make these slow: none can take one character in two ways, and none crosses
# lines but _PACKAGE, which stops at the next package.
_KB = re.compile(r"\bKB\d{6,9}\b", re.IGNORECASE)
_REG_FILE = re.compile(r'^"([A-Za-z]+)"=(?:"([^"\n]*)"|dword:([0-9a-fA-F]{1,8}))[ \t]*$', re.M)
_REG_QUERY = re.compile(r"^ {2,20}([A-Za-z]+) {2,20}REG_(SZ|DWORD) {2,20}(.*)$", re.M)
_CURRENT_VERSION = re.compile(r"\\Windows NT\\CurrentVersion\]?[ \t]*$", re.I | re.M)
_KEY = re.compile(r"^\[?HKEY_", re.M)
_HEX = re.compile(r"0x[0-9a-fA-F]{1,8}")
_FIELDS = {
    "InstallationType": "installation_type", "EditionID": "edition_id",
    "DisplayVersion": "display_version", "ProductName": "product_name",
}  # fmt: skip
_PACKAGE = re.compile(
    r"^Package Identity : (\S+)[ \t]*$(?:\n(?!Package Identity|State : ).*)*\nState : (\w+)", re.M
)
_PACKAGE_ROW = re.compile(r"^(Package_for_[^\s|]+)[ \t]*\|[ \t]*(\w+)[ \t]*\|", re.M)
_ROLLUP = re.compile(r"^Package_for_RollupFix~.*~(\d{5}\.\d{1,6})\.")


def decode(raw: bytes, where: str) -> str:
    """PowerShell and regedit write UTF-16 with a mark; other tools UTF-8, with or without."""
    if len(raw) > MAX_BYTES:
        raise HostileInputError(
            f"It is larger than {MAX_BYTES >> 20} MiB.",
            "Export only what was asked for.",
            where=where,
        )
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise HostileInputError(
            "It is neither UTF-8 nor UTF-16 text.", "Export it again as text.", where=where
        ) from error


def from_registry(text: str, where: str) -> dict[str, str]:
    """`build` and what tells the product, by the names of `WindowsFacts`."""
    values = _values(_section(text))
    build, revision = (
        values.get("CurrentBuild") or values.get("CurrentBuildNumber"),
        values.get("UBR"),
    )
    if not build or not revision:
        raise HostileInputError(
            "CurrentBuild and UBR are not in it.",
            r"Export HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion.",
            where=where,
        )
    found = {field: values[name] for name, field in _FIELDS.items() if name in values}
    return {"build": f"{build}.{revision}", **found}


def from_hotfixes(text: str) -> tuple[str, ...]:
    """KBs of any output of Get-HotFix; links in it have the number alone."""
    return tuple(sorted({kb.upper() for kb in _KB.findall(text)}))


def from_packages(text: str, record: ReleaseRecord) -> tuple[str, ...]:
    """KBs of packages that are Installed, neither Staged nor Superseded.

    A cumulative update is a RollupFix package that is named by its build. That stands for a KB only
    where one update alone has the build."""
    packages = [p for p, state in _packages(text) if state.lower() == "installed"]
    kbs = {kb.upper() for package in packages for kb in _KB.findall(package.replace("_", " "))}
    rollups = {match[1] for package in packages if (match := _ROLLUP.match(package))}
    for build in rollups:
        same = [r.kb for r in record.releases if r.build == build]
        kbs |= set(same) if len(same) == 1 else set()
    return tuple(sorted(kbs))


def _packages(text: str) -> Sequence[tuple[str, str]]:
    found = _PACKAGE.findall(text) + _PACKAGE_ROW.findall(text)
    if not found:
        raise HostileInputError(
            "No package is in it.", "Use the output of `DISM /English /Online /Get-Packages`."
        )
    return found


def _section(text: str) -> str:
    """From the key's own line to the next key: other keys have values of the same names."""
    start = _CURRENT_VERSION.search(text)
    if not start:
        return ""
    end = _KEY.search(text, start.end())
    return text[start.end() : end.start() if end else len(text)]


def _values(section: str) -> dict[str, str]:
    values = {
        name: str(int(number, 16)) if number else text
        for name, text, number in _REG_FILE.findall(section)
    }
    for name, kind, value in _REG_QUERY.findall(section):
        if kind == "SZ":
            values[name] = value.strip()
        elif _HEX.fullmatch(value.strip()):
            values[name] = str(int(value, 16))
    return values
