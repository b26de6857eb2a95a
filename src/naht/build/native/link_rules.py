"""Judges what the two linked objects say to others: exports, versions, needed libraries."""

from __future__ import annotations

from naht.build.native.linked import LinkedView
from naht.build.native.refusals import Refusals
from naht.elf import constants as c

MAX_NAMES = 8


def judge_links(old: LinkedView, new: LinkedView, refusals: Refusals) -> None:
    _judge_kind(old, new, refusals)
    _judge_exports(old, new, refusals)
    _judge_needed(old, new, refusals)


def _judge_kind(old: LinkedView, new: LinkedView, refusals: Refusals) -> None:
    if old.elf.type != new.elf.type:
        refusals.add(
            "kind-changed",
            f"{old.path.name} is {_kind(old)} in the old build and {_kind(new)} in the new one.",
            "Build both trees with the same flags (-fPIE, -no-pie, -shared).",
        )


def _kind(view: LinkedView) -> str:
    return "at a fixed address" if view.elf.type == c.ET_EXEC else "position independent"


def _judge_exports(old: LinkedView, new: LinkedView, refusals: Refusals) -> None:
    if removed := sorted(old.exports.keys() - new.exports.keys()):
        refusals.add(
            "export-removed",
            f"The new {old.path.name} no longer exports {_some(removed)}, which other objects "
            "may be bound to.",
            "Keep the exported symbols and their versions; a changed version script is a new "
            "baseline.",
        )
    if added := sorted(new.exports.keys() - old.exports.keys()):
        refusals.note(
            f"New exports stay invisible to other objects until a restart: {_some(added)}."
        )


def _judge_needed(old: LinkedView, new: LinkedView, refusals: Refusals) -> None:
    if added := [name for name in new.needed if name not in old.needed]:
        refusals.add(
            "needed-changed",
            f"The new {old.path.name} needs {_some(added)}, which live processes have not loaded.",
            "Do without the new library, or release the change as a new baseline.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
