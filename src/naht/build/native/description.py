"""What the author says of a hotpatch, as opposed to what the builder finds out."""

from __future__ import annotations

from dataclasses import dataclass

from naht.domain.package import ShippedVersion
from naht.hotpatch.manifest import AuthorsPatch, Consistency, Severity


@dataclass(frozen=True)
class Description:
    """Empty `id` and `purl` are derived from the target and the content."""

    id: str = ""
    title: str = ""
    advisories: tuple[str, ...] = ()
    severity: Severity = "unknown"
    purl: str = ""
    level: int = 1
    supersedes: tuple[str, ...] = ()
    brings_to: tuple[ShippedVersion, ...] = ()
    authors_patches: tuple[AuthorsPatch, ...] = ()
    consistency: Consistency | None = None
