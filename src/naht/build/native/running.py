"""Proves that the old build is the binary that runs, as far as the hotpatch touches or uses it.

Refuses a running binary without a build-id, one that is laid out or bound differently, and one
whose code or constants differ at a place that matters. What else differs is of no concern, and
neither is where unnamed literals lie (`running_content`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from naht.build.native.differing_functions import differing_functions
from naht.build.native.linked import LinkedView
from naht.build.native.loaded_content import differing_ranges, layout_differences
from naht.build.native.refusals import Refusals
from naht.build.native.running_content import RunningContent
from naht.build.native.running_object import RunningObject
from naht.elf.file import ElfFile

MAX_NAMES = 8
_SAME_BUILD = "Build the old tree with exactly the flags, tools and sources of the running binary."


@dataclass(frozen=True, slots=True)
class Used:
    """Something of the old object that the hotpatch replaces or refers to."""

    name: str
    address: int
    size: int


def prove_running(
    old: LinkedView, running_path: Path, used: Iterable[Used], refusals: Refusals
) -> None:
    running = ElfFile(running_path.read_bytes())
    if running.build_id is None:
        refusals.add(
            "no-build-id",
            f"{running_path} has no build-id, by which processes would be found.",
            "Link it with -Wl,--build-id and deploy that binary first.",
        )
    if running_path == old.path:
        return
    if differences := layout_differences(old.elf, running):
        refusals.add(
            "running-differs",
            f"{running_path.name} is laid out differently from the old build: "
            f"{'; '.join(differences[:MAX_NAMES])}.{_named(differing_functions(old.elf, running))}",
            _SAME_BUILD,
        )
        return
    if not differing_ranges(old.elf, running):
        return
    content = RunningContent(old, RunningObject(running_path))
    if differences := content.slot_differences():
        refusals.add(
            "running-differs",
            f"{running_path.name} is bound differently from the old build: "
            f"{'; '.join(differences[:MAX_NAMES])}.",
            _SAME_BUILD,
        )
        return
    for thing in sorted(set(used), key=lambda u: (u.address, u.name)):
        if found := content.difference(thing.address, thing.size):
            refusals.add(
                "running-differs",
                f"{thing.name} of the running binary differs from the old build at "
                f"+{found.offset:#x} ({found.what}).",
                _SAME_BUILD,
            )


def _named(functions: list[str]) -> str:
    if not functions:
        return ""
    more = f" and {len(functions) - MAX_NAMES} more" if len(functions) > MAX_NAMES else ""
    return f" Its code differs in {', '.join(functions[:MAX_NAMES])}{more}."
