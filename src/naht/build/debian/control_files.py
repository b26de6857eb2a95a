"""Reads paragraphs of control files (deb822(5)): package lists, descriptions, source entries.

Refuses nothing: what is no field is left out. Names of fields are case-insensitive, so they come
back in lower case.
"""

from __future__ import annotations

from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line
        elif not line.startswith("#"):
            name, colon, value = line.partition(":")
            name = name.strip().lower() if colon else ""
            if name:
                fields[name] = value.strip()
    if fields:
        yield fields


def paragraph(text: str) -> dict[str, str]:
    """The first one."""
    return next(paragraphs(text), {})
