"""Facts of a Windows device, and which product it is. Pure.

Build 26100 is Windows 11 24H2 and Windows Server 2025, and the registry's ProductName still says
"Windows 10" on Windows 11: only InstallationType and EditionID tell. Refuses to guess without them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from naht.domain.release import KnowledgeBaseId, Text, Track
from naht.errors import UsageError

Word = Annotated[str, msgspec.Meta(max_length=256)]


class WindowsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are unknown here belong to other questions, and are left alone."""

    name: Word = ""
    product: Word = ""  # ours, as `windows-server-2025`; else it is found from the next four
    installation_type: Word = ""  # Client, Server, Server Core
    edition_id: Word = ""  # Enterprise, ServerDatacenter, ServerTurbine (Azure Edition)
    display_version: Word = ""  # 24H2
    product_name: Word = ""  # of the registry; shown, never believed
    build: Annotated[
        str, msgspec.Meta(max_length=32, pattern=r"^([0-9]{1,9}\.[0-9]{1,9})?$(?!\n)")
    ] = ""  # CurrentBuild.UBR
    installed_kbs: Annotated[tuple[KnowledgeBaseId, ...], msgspec.Meta(max_length=5000)] = ()
    kbs_complete: bool = False  # whether a KB that is not in the list is not installed
    enrolled: bool | None = None  # in hotpatching, by policy or portal
    track: Track | None = None  # stated by whoever manages the device
    scanner_missing: Annotated[tuple[KnowledgeBaseId, ...], msgspec.Meta(max_length=5000)] = ()
    notes: Text = ""


_CLIENTS = {"26100": "windows-11-24h2", "26200": "windows-11-25h2"}
# EditionID of "Datacenter: Azure Edition" is ServerTurbine, of its core form ServerTurbineCor.
_AZURE_EDITION = "serverturbine"


def product_of(facts: WindowsFacts) -> str:
    """The product's name. Raises UsageError when the facts don't tell."""
    if facts.product:
        return facts.product
    major = facts.build.partition(".")[0]
    if _is_server(facts):
        found = _server(major, facts.edition_id.lower())
    else:
        found = _CLIENTS.get(major, "")
    if not found:
        raise UsageError(
            f"Build {facts.build or '(not given)'} is of no product that is recorded.",
            "Name the product in the facts, as `product`; `naht calendar` lists them.",
        )
    return found


def _server(major: str, edition: str) -> str:
    if major == "26100":
        return "windows-server-2025"
    if major != "20348":
        return ""
    if not edition:
        raise UsageError(
            "Windows Server 2022 has hotpatches as Datacenter: Azure Edition only, and the facts "
            "don't say which edition it is.",
            "Add `edition_id` (registry: EditionID) to the facts.",
        )
    return "windows-server-2022" + ("-azure" if edition.startswith(_AZURE_EDITION) else "")


def _is_server(facts: WindowsFacts) -> bool:
    kind, edition = facts.installation_type.lower(), facts.edition_id.lower()
    if kind or edition:
        return kind.startswith("server") or (not kind and edition.startswith("server"))
    if facts.build.startswith("20348."):
        return True
    raise UsageError(
        f"Build {facts.build or '(not given)'} does not tell a client from a server: 26100 is "
        "Windows 11 24H2 and Windows Server 2025.",
        "Add `installation_type` (registry: InstallationType), `edition_id` or `product`.",
    )
