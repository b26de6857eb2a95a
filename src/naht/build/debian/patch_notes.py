"""What patches say about themselves (DEP-3 fields, git's header, their names), and what changelog
entries say about patches.

Refuses nothing: it only collects. Who decides is naht.build.debian.older.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath

from naht.build.debian.changelog import Entry
from naht.build.debian.patch_stack import PatchStack

_CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.IGNORECASE)
# In a header, "#1234" alone counts in somebody else's tracker.
_DEBIAN_BUG = re.compile(r"(?:bugs\.debian\.org/(?:cgi-bin/bugreport\.cgi\?bug=)?)(\d{4,8})\b")
_CLOSED_BUG = re.compile(r"#(\d{4,8})\b")
_DIFF = re.compile(r"^(?:--- |\+\+\+ |diff -|Index: )", re.MULTILINE)
_LONGEST_HEADER = 1 << 16
_SHORTEST_SUBJECT = 12  # characters; shorter ones are found in texts that mean something else


@dataclass(frozen=True)
class PatchNotes:
    name: str
    cves: frozenset[str]  # that it is about: those in its name, if any
    mentioned: frozenset[str]  # all CVEs that it speaks of
    bugs: frozenset[str]
    subject: str
    written: int  # seconds, by its author; 0: not said

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def named_by_cves(self) -> bool:
        return re.fullmatch(r"\d*[-_]*", re.sub(_CVE, "", self.stem)) is not None


def notes_of(stack: PatchStack, name: str) -> PatchNotes:
    header = header_text(stack.file(name))
    return PatchNotes(
        name,
        cves_in(name) or cves_in(header),
        cves_in(name) | cves_in(header),
        frozenset(_DEBIAN_BUG.findall(header)),
        _words(header_field(header, "Subject") or header_field(header, "Description")),
        _seconds(header_field(header, "Date")),
    )


def header_text(patch: Path) -> str:
    """What stands before the diff."""
    with patch.open("rb") as file:
        text = file.read(_LONGEST_HEADER).decode(errors="replace")
    first = _DIFF.search(text)
    return text[: first.start()] if first else text


def header_field(header: str, name: str) -> str:
    match = re.search(rf"^{name}:((?:.*)(?:\n[ \t]+\S.*)*)", header, re.MULTILINE)
    return re.sub(r"^\s*(\[[^]]*\]\s*)*", "", match[1]) if match else ""


def _seconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date.strip()).timestamp())
    except (ValueError, OverflowError):
        return 0


def cves_in(text: str) -> frozenset[str]:
    return frozenset(found.upper() for found in _CVE.findall(text))


def _words(text: str) -> str:
    """Case, punctuation and folded lines make no difference."""
    return " ".join(re.findall(r"[a-z0-9_]+", text.lower()))


class Mentions:
    """What a stretch of the changelog says about patches."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.text = "\n".join(entry.text for entry in entries)
        self._words = f" {_words(self.text)} "
        self.cves = cves_in(self.text)
        self.bugs = frozenset(_CLOSED_BUG.findall(self.text))

    def names(self, patch: PatchNotes) -> bool:
        """By file name, with or without its folder and suffix, or by its whole subject."""
        if re.search(rf"(?<![\w.-]){re.escape(patch.stem)}(?![\w-])", self.text):
            # "CVE-2024-1" alone is the CVE, unless the patch's suffix follows somewhere.
            return not _CVE.fullmatch(patch.stem) or PurePosixPath(patch.name).name in self.text
        long_enough = len(patch.subject) >= _SHORTEST_SUBJECT
        return long_enough and f" {patch.subject} " in self._words

    def refers_to(self, patch: PatchNotes) -> bool:
        """By a CVE or a bug."""
        return bool(self.cves & patch.cves or self.bugs & patch.bugs)


def patches_for(
    stack: PatchStack, changelog: Sequence[Entry], cves: Iterable[str]
) -> tuple[str, ...]:
    """Those that say that they fix one of the CVEs, or of which the changelog says it."""
    wanted = frozenset(cve.upper() for cve in cves)
    items = [item for entry in changelog for item in entry.items if cves_in(item) & wanted]
    found = []
    for name in stack.applied:
        notes = notes_of(stack, name)
        if notes.mentioned & wanted or any(_named(item, notes) for item in items):
            found.append(name)
    return tuple(found)


def _named(item: str, notes: PatchNotes) -> bool:
    # One that carries a CVE in its name is of that one, whatever else the item lists.
    if cves_in(notes.name):
        return False
    return PurePosixPath(notes.name).name in item or f"{notes.stem} " in f"{item} "
