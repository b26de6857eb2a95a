"""Pairs built from small projects, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from naht.build.compile_pair import BuiltPair
from naht.build.native.pairing import build_pair
from naht.build.native.request import BuildRequest
from tests.builders.small_projects import Project, edited, write_project


@contextmanager
def built(
    folder: Path, project: Project, new: Mapping[str, str], *, keep: Path | None = None
) -> Iterator[BuiltPair]:
    """The pair of `project` and the `new` files, both written to `folder`."""
    write_project(folder / "old", project.files)
    write_project(folder / "new", new)
    request = BuildRequest(
        old=folder / "old", new=folder / "new", command=project.command,
        object=project.object, id="test", keep=keep,
    )  # fmt: skip
    with build_pair(request, lambda _: None) as pair:
        yield pair


def with_higher_limit(project: Project) -> dict[str, str]:
    return edited(project.files, "include/limit.h", "return 10", "return 12")
