"""The cases: one patch of one version of one Debian source package each. Read from a list whose
author is not trusted: names that could lead out of a directory are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from naht.errors import UsageError

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]{1,100}")
_PATCH = re.compile(r"(?!.*\.\.)[A-Za-z0-9_+~][^\0-\x1f\\]{0,250}")
_MAX_SIZE = 64 << 20


@dataclass(frozen=True)
class Case:
    package: str
    version: str
    patch: str  # its name in debian/patches
    cves: tuple[str, ...] = ()
    subject: str = ""
    change_class: str = ""
    changes_code: bool = True  # as the list says: some C or C++ file is touched

    @property
    def key(self) -> str:
        return f"{self.package}/{self.patch.replace('/', '%')}"

    @property
    def class_letter(self) -> str:
        return self.change_class.split(" ")[0] or "?"


def read_cases(path: Path) -> tuple[Case, ...]:
    if path.stat().st_size > _MAX_SIZE:
        raise UsageError(f"{path} is larger than 64 MiB.", "Give a list of cases.")
    try:
        rows = json.loads(path.read_bytes())
        return tuple({c.key: c for c in map(_case, rows)}.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a list of cases: {error!r}.", "See tests/corpus/README.md."
        ) from error


def _case(row: Mapping[str, Any]) -> Case:
    return Case(
        package=_checked(_PACKAGE, row["package"]),
        version=_checked(_VERSION, row["version"]),
        patch=_checked(_PATCH, row["patch"]),
        cves=tuple(str(c) for c in row.get("cves", ())),
        subject=str(row.get("subject", "")),
        change_class=str(row.get("change_class", "")),
        changes_code=bool(row.get("code_files") or row.get("header_files")),
    )


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is no such name")
    return text


def select(
    cases: Iterable[Case],
    packages: Collection[str] = (),
    patches: Collection[str] = (),
    classes: Collection[str] = (),
) -> tuple[Case, ...]:
    """Patterns as of a shell; none: all."""

    def wanted(text: str, patterns: Collection[str]) -> bool:
        return not patterns or any(fnmatch(text, p) for p in patterns)

    return tuple(
        c
        for c in cases
        if wanted(c.package, packages)
        and wanted(c.patch, patches)
        and wanted(c.class_letter, classes)
    )


def by_package(cases: Iterable[Case], cost: Mapping[str, float]) -> tuple[tuple[Case, ...], ...]:
    """Cheap packages come first, unknown ones last."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.package, []).append(case)
    order = sorted(groups, key=lambda p: (cost.get(p, float("inf")), p))
    return tuple(tuple(groups[p]) for p in order)
