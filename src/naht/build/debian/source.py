"""SourcePackage: one version of a source package, downloaded and unpacked. Its patches are taken
off again by naht.build.debian.quilt:

    state_before(source: SourcePackage, patches: Sequence[str], into: Path) -> TreePair

Refuses files whose digests are not those of the description (.dsc).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from naht.errors import UsageError


@dataclass(frozen=True)
class SourcePackage:
    name: str
    version: str
    description: Path  # the .dsc, beside the files that it names
    tree: Path  # unpacked, with all its patches applied; nobody writes to it

    @property
    def format(self) -> str:
        said = self.tree / "debian" / "source" / "format"
        return said.read_text(errors="replace").strip() if said.is_file() else "1.0"


def kept_source(directory: Path) -> SourcePackage:
    """What lies in `directory`: a .dsc, its files, and `tree`."""
    descriptions = sorted(directory.glob("*.dsc"))
    if len(descriptions) != 1 or not (directory / "tree").is_dir():
        raise UsageError(
            f"{directory} holds no unpacked source package.", "It needs one .dsc, and `tree`."
        )
    name, _, version = directory.name.partition("_")
    return SourcePackage(name, version.replace("%", ":"), descriptions[0], directory / "tree")
