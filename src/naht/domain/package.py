"""Packages as a distribution ships them, and the order of their versions. Facts only, no I/O.

Versions are those of Debian's policy; `compare_versions` orders them as dpkg does.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Annotated

import msgspec

VersionText = Annotated[
    str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9.+:~^-]*$(?!\n)")
]
KnownBuildId = Annotated[
    str, msgspec.Meta(pattern=r"^(([0-9a-f]{2}){4,64})?$(?!\n)")
]  # "": not known

_PIECES = re.compile(r"([^0-9]*)([0-9]*)")


class ShippedVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version whose shipped object has the code that a hotpatch brings."""

    version: VersionText  # of the source package, as the distribution writes it
    build_id: KnownBuildId = ""  # of the object in that version


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A binary package that is unpacked in some root."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


def compare_versions(one: str, other: str) -> int:
    """Below, equal to or above 0, as `one` is older than, the same as or newer than `other`."""
    first, second = _split(one), _split(other)
    if first[0] != second[0]:
        return first[0] - second[0]
    return _compare_part(first[1], second[1]) or _compare_part(first[2], second[2])


def _split(version: str) -> tuple[int, str, str]:
    """Epoch, upstream version and revision."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return int(epoch[:9]), upstream if hyphen else rest, revision if hyphen else ""


def _compare_part(one: str, other: str) -> int:
    """Text and number in turn; the text in an order of its own, the number by value."""
    pieces = zip_longest(_PIECES.findall(one), _PIECES.findall(other), fillvalue=("", ""))
    for (text, number), (other_text, other_number) in pieces:
        if order := _compare_text(text, other_text):
            return order
        if order := int(number or "0") - int(other_number or "0"):
            return order
    return 0


def _compare_text(one: str, other: str) -> int:
    for mine, its in zip_longest(one, other, fillvalue=""):
        if order := _weight(mine) - _weight(its):
            return order
    return 0


def _weight(character: str) -> int:
    """A tilde sorts before the end, letters after the end and before all else (deb-version(7))."""
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
