"""What Windows' own tools write, in the encodings and forms in which they write it."""

from __future__ import annotations

import pytest

from naht.errors import HostileInputError
from naht.releases.windows import exports
from naht.releases.windows.history import windows_records

RECORD = windows_records()["windows-server-2025"]

REG_FILE = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"SystemRoot"="C:\\Windows"
"CurrentBuild"="26100"
"CurrentBuildNumber"="26100"
"DisplayVersion"="24H2"
"EditionID"="ServerDatacenter"
"InstallationType"="Server Core"
"ProductName"="Windows Server 2025 Datacenter"
"UBR"=dword:00001af9

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Accessibility]
"CurrentBuild"="1"
"UBR"=dword:00000001
"""
REG_QUERY = """
HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion
    CurrentBuild    REG_SZ    26100
    EditionID    REG_SZ    ServerDatacenter
    InstallationType    REG_SZ    Server Core
    ProductName    REG_SZ    Windows Server 2025 Datacenter
    DisplayVersion    REG_SZ    24H2
    UBR    REG_DWORD    0x1af9

HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Accessibility
"""


@pytest.mark.parametrize("text", [REG_FILE, REG_QUERY], ids=["export", "query"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
def test_the_registry_gives_build_and_edition(text: str, encoding: str) -> None:
    raw = text.replace("\n", "\r\n").encode(encoding)
    assert exports.from_registry(exports.decode(raw, "cv.reg"), "cv.reg") == {
        "build": "26100.6905",
        "edition_id": "ServerDatacenter",
        "installation_type": "Server Core",
        "display_version": "24H2",
        "product_name": "Windows Server 2025 Datacenter",
    }


@pytest.mark.parametrize(
    "text", ["", "[HKEY_LOCAL_MACHINE\\SOFTWARE]\n", REG_FILE.replace('"UBR"', '"Other"')]
)
def test_a_registry_export_without_the_build_is_refused(text: str) -> None:
    with pytest.raises(HostileInputError, match="CurrentBuild and UBR"):
        exports.from_registry(text, "cv.reg")


HOTFIX_CSV = """\
#TYPE System.Management.ManagementObject#root\\cimv2\\Win32_QuickFixEngineering
"PSComputerName","Caption","Description","HotFixID","InstalledOn"
"SRV1","http://support.microsoft.com/?kbid=5066835","Security Update","KB5066835","10/15/2025"
"SRV1","https://support.microsoft.com/help/5070893","Hotpatch","KB5070893","10/25/2025"
"""
HOTFIX_JSON = '[{"HotFixID": "KB5066835"}, {"HotFixID": "KB5070893", "InstalledBy": "NT"}]'
HOTFIX_TEXT = """\
Source        Description      HotFixID      InstalledBy          InstalledOn
SRV1          Security Update  KB5066835     NT AUTHORITY\\SYSTEM  10/15/2025
SRV1          Hotpatch         KB5070893     NT AUTHORITY\\SYSTEM  10/25/2025
"""


@pytest.mark.parametrize(
    "text", [HOTFIX_CSV, HOTFIX_JSON, HOTFIX_TEXT], ids=["csv", "json", "text"]
)
def test_get_hotfix_gives_the_kbs_in_any_of_its_forms(text: str) -> None:
    assert exports.from_hotfixes(text) == ("KB5066835", "KB5070893")


PACKAGES = """\
Deployment Image Servicing and Management tool

Package Identity : Package_for_KB5067035~31bf3856ad364e35~amd64~~26100.7010.1.1
State : Installed
Release Type : Security Update

Package Identity : Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.3194.1.7
State : Installed
Release Type : Security Update

Package Identity : Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.2894.1.9
State : Superseded
Release Type : Security Update

Package Identity : Package_for_KB5099999~31bf3856ad364e35~amd64~~26100.1.1.1
State : Staged
Release Type : Update
"""
PACKAGE_TABLE = """\
Package Identity                                             | State      | Release Type    |
------------------------------------------------------------ | ---------- | --------------- |
Package_for_KB5067035~31bf3856ad364e35~amd64~~26100.7010.1.1 | Installed  | Security Update |
Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.3194.1.7 | Installed  | Security Update |
Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.2894.1.9 | Superseded | Security Update |
Package_for_KB5099999~31bf3856ad364e35~amd64~~26100.1.1.1    | Staged     | Update          |
"""


@pytest.mark.parametrize("text", [PACKAGES, PACKAGE_TABLE], ids=["list", "table"])
def test_only_installed_packages_count_and_a_rollup_is_named_by_its_build(text: str) -> None:
    assert exports.from_packages(text, RECORD) == ("KB5051987", "KB5067035")


def test_trap_a_rollup_whose_build_two_updates_share_names_neither() -> None:
    text = PACKAGES.replace("26100.3194", "26100.6905")
    assert exports.from_packages(text, RECORD) == ("KB5067035",)


def test_a_list_without_packages_is_refused_not_taken_for_none() -> None:
    with pytest.raises(HostileInputError, match="No package"):
        exports.from_packages(
            "Paketidentität : Package_for_KB5067035\nStatus : Installiert\n", RECORD
        )


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"caf\xe9", b"KB" * (9 << 20)])
def test_what_is_no_text_or_too_large_is_refused(raw: bytes) -> None:
    with pytest.raises(HostileInputError):
        exports.decode(raw, "export.txt")


HOSTILE = [
    "Package Identity : x" + "\n" * 300_000,
    "Package Identity : x\n" * 100_000,
    "Package_for_x" + " " * 300_000,
    "    UBR    REG_DWORD    x" + " " * 300_000 + "y",
    '"UBR"=dword:1' + " " * 300_000 + "y",
    "[HKEY_X\\Windows NT\\CurrentVersion" + " " * 300_000 + "y",
    "KB" + "1" * 300_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_takes_no_longer_than_its_length(text: str) -> None:
    """What takes quadratic time would not end here."""
    registry = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\n" + text
    for read in (
        lambda: exports.from_registry(registry, "cv.reg"),
        lambda: exports.from_packages(text, RECORD),
    ):
        with pytest.raises(HostileInputError):
            read()
    assert exports.from_hotfixes(text) == ()


@pytest.mark.parametrize("value", ["0xzz", "6905", "0x" + "f" * 9])
def test_a_number_that_is_none_is_not_taken(value: str) -> None:
    text = REG_QUERY.replace("0x1af9", value)
    with pytest.raises(HostileInputError, match="CurrentBuild and UBR"):
        exports.from_registry(text, "cv.reg")
