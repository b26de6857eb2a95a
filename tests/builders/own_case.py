"""A case that a test brings along as text, instead of a folder under tests/programs."""

from __future__ import annotations

from pathlib import Path

from tests.programs.cases import Case, Trees, prepare


def own_case(where: Path, old: str, new: str, *, flags: str = "-O2", suffix: str = "c") -> Trees:
    """Both trees of an executable whose only sources are the driver and these."""
    folder = where / "case"
    folder.mkdir(parents=True)
    for side, source in (("old", old), ("new", new)):
        (folder / f"{side}.{suffix}").write_text(source)
    return prepare(Case(name="own", folder=folder, about="a test's own", flags=flags), where / "t")
