"""Debian's order of versions (deb-version(7)), as a sort key, and the parts of a version.

Refuses what is no version: nothing else reaches a command line or a file name.
"""

from __future__ import annotations

import re
from functools import cmp_to_key

from naht.domain.package import compare_versions
from naht.errors import UsageError

_VERSION = re.compile(r"(?:\d+:)?\d[A-Za-z0-9.+:~-]*")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_LONGEST = 200


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


def _compare(one: str, other: str) -> int:
    return compare_versions(check_version(one), check_version(other))


version_key = cmp_to_key(_compare)
