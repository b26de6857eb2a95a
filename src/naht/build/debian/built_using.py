"""Binary packages of other sources that hold code of this one, as the archives' lists tell it.

    find_packages_built_with(apt, source) -> tuple[Copy, ...]
        The newest version of each package whose Built-Using or Static-Built-Using names `source`.

Refuses nothing. The fields are all that is known: a package that linked a static archive without
saying so is not found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from naht.build.debian.apt import PrivateApt
from naht.build.debian.control_files import paragraph
from naht.build.debian.copies import Copy
from naht.build.debian.versions import check_name

_FIELDS = ("static-built-using", "built-using")
_ENTRY = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)\s*(?:\(\s*=\s*([^\s)]+)\s*\))?\s*")


def find_packages_built_with(apt: PrivateApt, source: str) -> tuple[Copy, ...]:
    check_name(source)
    listed = apt.run("apt-cache", "dumpavail").stdout
    return tuple(sorted(packages_built_with(listed, source), key=lambda copy: copy.name))


def packages_built_with(listed: str, source: str) -> Iterator[Copy]:
    """`listed`: a Packages file. Most paragraphs are passed over unread."""
    for part in listed.split("\n\n"):
        if "Built-Using:" in part and source in part:
            yield from _copies(paragraph(part), source)


def _copies(fields: dict[str, str], source: str) -> Iterator[Copy]:
    name = fields.get("package", "")
    if _source_of(fields) == source:  # made by the very build whose copies are known
        return
    for field in _FIELDS:
        for entry in fields.get(field, "").split(","):
            found = _ENTRY.fullmatch(entry)
            if found and found[1] == source:
                used = f"{source} {found[2] or 'of an unknown version'}"
                note = f"{name} {fields.get('version', '')} was built using {used}"
                yield Copy("package", name, note=note)
                return


def _source_of(fields: dict[str, str]) -> str:
    return fields.get("source", fields.get("package", "")).partition(" ")[0]
