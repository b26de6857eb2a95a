"""debian/changelog: its entries, and the file as it was for an older version.

Refuses to guess: a version that has no entry is an error that lists those that have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from naht.errors import HostileInputError, UsageError

_HEAD = re.compile(r"^[a-z0-9][a-z0-9+.-]* \(([^()\s]+)\)", re.MULTILINE | re.IGNORECASE)
_TRAILER = re.compile(r"^ -- .*>  ?(.+)$", re.MULTILINE)
_ITEM = re.compile(r"^\s+[*+-] ", re.MULTILINE)
_LARGEST = 32 << 20


@dataclass(frozen=True)
class Entry:
    version: str
    text: str

    @property
    def timestamp(self) -> int:
        """Seconds; what SOURCE_DATE_EPOCH is when this version is built."""
        if match := _TRAILER.search(self.text):
            try:
                return int(parsedate_to_datetime(match[1]).timestamp())
            except ValueError:
                pass
        raise HostileInputError(
            f"The changelog entry of {self.version} has no date.", "Get the source package again."
        )

    @property
    def items(self) -> list[str]:
        """Its bullets, each with the lines that belong to it."""
        body = _TRAILER.sub("", self.text).partition("\n")[2]
        starts = [match.start() for match in _ITEM.finditer(body)]
        ends = [*starts[1:], len(body)]
        return [body[start:end] for start, end in zip(starts, ends, strict=True)]


def read_changelog(tree: Path) -> list[Entry]:
    """Newest first."""
    path = tree / "debian" / "changelog"
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise HostileInputError(f"{path} is missing or too large.", "Get the source again.")
    return entries(path.read_text(errors="surrogateescape"))


def entries(text: str) -> list[Entry]:
    heads = list(_HEAD.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [Entry(head[1], text[head.start() : end]) for head, end in zip(heads, ends, strict=True)]


def split_at(changelog: Sequence[Entry], version: str) -> tuple[list[Entry], list[Entry]]:
    """What came after `version`; that version and what was before it."""
    for place, entry in enumerate(changelog):
        if entry.version == version:
            return list(changelog[:place]), list(changelog[place:])
    known = ", ".join(entry.version for entry in changelog[:8])
    raise UsageError(
        f"{version} is not in the changelog of {changelog[0].version if changelog else 'nothing'}.",
        f"Its newest entries are {known}.",
    )


def cut_back(tree: Path, version: str) -> None:
    """The changelog of `tree` becomes that of the older version: versions that are compiled in
    come from it."""
    _, kept = split_at(read_changelog(tree), version)
    text = "".join(entry.text for entry in kept)
    (tree / "debian" / "changelog").write_text(text, errors="surrogateescape")
