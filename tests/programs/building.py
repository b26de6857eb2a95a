"""From a case to a hotpatch, and what the hotpatch must contain."""

from __future__ import annotations

import subprocess
from pathlib import Path

from naht.build.native.builder import build_native
from naht.build.native.request import BuildRequest
from naht.hotpatch.container import unpack_hotpatch
from naht.hotpatch.manifest import Consistency, Image
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from tests.programs.cases import Case, Trees

ID = "naht-test-1"


def build(
    trees: Trees,
    *,
    new: Path | None = None,
    object_name: str = "",
    hotpatch_id: str = ID,
    level: int = 1,
    supersedes: tuple[str, ...] = (),
    consistency: Consistency | None = None,
) -> VerifiedHotpatch:
    case = trees.case
    request = BuildRequest(
        old=trees.old,
        new=new or trees.new,
        command="make -s",
        object=object_name or case.object_name,
        running=trees.running_object if case.running else None,
        id=hotpatch_id,
        title=case.about,
        level=level,
        supersedes=supersedes,
        consistency=consistency or case.consistency,
        allow=frozenset(case.allow),
    )
    return accept_unsigned(unpack_hotpatch(build_native(request, lambda _message: None)))


def image_of(hotpatch: VerifiedHotpatch) -> Image:
    (image,) = hotpatch.manifest.images
    return image


def assert_contains_what_it_should(case: Case, hotpatch: VerifiedHotpatch) -> None:
    image = image_of(hotpatch)
    changed = {f.name for f in image.functions if f.change == "changed"}
    assert {plain_name(name) for name in changed} == set(case.functions)
    new = {plain_name(f.name) for f in image.functions if f.change == "new"}
    assert new >= set(case.new_functions)
    assert set(case.dropped) <= set(hotpatch.manifest.provenance.dropped)


def plain_name(symbol: str) -> str:
    """The name as the source has it, for a C++ or cloned symbol."""
    if symbol.startswith("_Z"):
        return _demangle(symbol)
    return symbol.split(".", maxsplit=1)[0]


def _demangle(symbol: str) -> str:
    done = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True)
    return done.stdout.strip()
