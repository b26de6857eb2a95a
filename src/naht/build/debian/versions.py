"""Debian's order of versions (deb-version(7)), as a sort key, and the parts of a version.

Refuses what is no version: nothing else reaches a command line or a file name.
"""

from __future__ import annotations

import re
from itertools import zip_longest

from naht.errors import UsageError

_VERSION = re.compile(r"(?:\d+:)?\d[A-Za-z0-9.+:~-]*")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_LONGEST = 200
# Ends before it goes on: "~" < end of the text < letters < the other characters.
_TILDE, _END = -1, 0
_NOTHING: tuple[list[int], int] = ([], 0)

Key = tuple[int, "Part", "Part"]


def check_version(version: str) -> str:
    if len(version) > _LONGEST or not _VERSION.fullmatch(version):
        raise UsageError(
            f"{version!r} is no version of a Debian package.",
            "Write it as dpkg does: 1.2-3+deb12u1.",
        )
    return version


def check_name(name: str) -> str:
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a Debian package.", "See the names with `apt-cache search`."
        )
    return name


def without_epoch(version: str) -> str:
    return version.partition(":")[2] if ":" in version else version


def upstream_version(version: str) -> str:
    """Without epoch and Debian revision: the name of the source tree has it."""
    return without_epoch(version).rpartition("-")[0] or without_epoch(version)


def as_file_name(version: str) -> str:
    return version.replace(":", "%")


class Part:
    """One half of a version, ordered as dpkg orders it."""

    def __init__(self, text: str) -> None:
        # Text and digits in turn, beginning with text.
        pieces = re.findall(r"(\D*)(\d*)", text)
        self._pieces = [([_order(c) for c in word], int(number or 0)) for word, number in pieces]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self._compare(other) == 0

    def __lt__(self, other: Part) -> bool:
        return self._compare(other) < 0

    __hash__ = None  # type: ignore[assignment]

    def _compare(self, other: Part) -> int:
        for one, two in zip_longest(self._pieces, other._pieces, fillvalue=_NOTHING):
            for a, b in zip_longest(one[0], two[0], fillvalue=_END):
                if a != b:
                    return a - b
            if one[1] != two[1]:
                return one[1] - two[1]
        return 0


def _order(character: str) -> int:
    if character == "~":
        return _TILDE
    return ord(character) if character.isalpha() else ord(character) + 256


def version_key(version: str) -> Key:
    epoch, colon, rest = check_version(version).partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), Part(upstream if dash else rest), Part(revision if dash else "")
