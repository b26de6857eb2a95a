"""Proves that the old build is the binary that runs, as far as the hotpatch touches or uses it.

Refuses a running binary without a build-id, one that is laid out differently, and one whose
code or constants differ at a place that matters. What else differs is of no concern.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from naht.build.native.linked import LinkedView
from naht.build.native.refusals import Refusals
from naht.elf import constants as c
from naht.elf.file import ElfFile, Section

MAX_NAMES = 8


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
    if differences := _layout_differences(old.elf, running):
        refusals.add(
            "running-differs",
            f"{running_path.name} is laid out differently from the old build: "
            f"{'; '.join(differences[:MAX_NAMES])}.",
            "Build the old tree with exactly the flags and tools of the running binary.",
        )
        return
    for thing in sorted(set(used), key=lambda u: (u.address, u.name)):
        _compare(old.elf, running, thing, refusals)


def _layout_differences(old: ElfFile, running: ElfFile) -> list[str]:
    if old.type != running.type:
        return ["one is position independent and the other is not"]
    olds, runnings = _loaded(old), _loaded(running)
    found = []
    if not runnings:  # section headers can be stripped off; the segments remain
        return _segment_differences(old, running)
    for name in dict.fromkeys((*olds, *runnings)):
        if olds.get(name) != runnings.get(name):
            found.append(f"{name} is {_place(runnings.get(name))}, not {_place(olds.get(name))}")
    return found or _segment_differences(old, running)


def _loaded(elf: ElfFile) -> dict[str, tuple[int, int]]:
    """Name → (address, size); empty when section headers were stripped off."""
    return {
        _unique(section, elf): (section.address, section.size)
        for section in elf.sections
        if section.flags & c.SHF_ALLOC
    }


def _unique(section: Section, elf: ElfFile) -> str:
    return (
        section.name
        if elf.section_by_name[section.name] is section
        else (f"{section.name} ({section.index})")
    )


def _place(where: tuple[int, int] | None) -> str:
    return f"at {where[0]:#x}+{where[1]:#x}" if where else "missing"


def _segment_differences(old: ElfFile, running: ElfFile) -> list[str]:
    olds, runnings = _segments(old), _segments(running)
    return [] if olds == runnings else ["its segments are others"]


def _segments(elf: ElfFile) -> list[tuple[int, int, int]]:
    return [(s.flags, s.address, s.memory_size) for s in elf.segments if s.type == c.PT_LOAD]


def _compare(old: ElfFile, running: ElfFile, thing: Used, refusals: Refusals) -> None:
    mine = old.read_address(thing.address, thing.size)
    theirs = running.read_address(thing.address, thing.size)
    if mine == theirs:
        return
    at = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
    refusals.add(
        "running-differs",
        f"{thing.name} of the running binary differs from the old build at +{at:#x} "
        f"({theirs[at]:02x}, not {mine[at]:02x}).",
        "Build the old tree with exactly the flags, tools and sources of the running binary.",
    )
