"""Turns a link map into the addresses of each plain object's sections, checked against the ELF.

Refuses a map that does not describe the linked object or the objects in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from naht.build.compile_pair import LinkedObject, Placement
from naht.build.native.units import Link, LinkedInput
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError

# The linker merges, edits or makes these anew, so their place in the map says nothing.
_REWRITTEN_TYPES = frozenset({c.SHT_NOTE, c.SHT_X86_64_UNWIND, c.SHT_GROUP})
_REWRITTEN_NAMES = frozenset({".eh_frame", ".sframe"})


def place(link: Link, path: Path, objects: Mapping[tuple[str, str], Path]) -> LinkedObject:
    """`objects` maps names of the link's inputs to plain objects; `path` is its output."""
    described = _described_outputs(link, path)
    sizes = {item.name: _movable_sections(item) for item in link.inputs}
    placements: dict[tuple[Path, str], tuple[Placement, ...]] = {}
    for section in link.map.inputs:
        name = (section.file, section.member)
        expected = sizes.get(name, {}).get(section.name)
        if expected is None or section.output.name not in described:
            continue
        if expected and section.size not in expected:
            raise _mismatch(f"{section.name} of {section.file} has another size there")
        key = (objects[name], section.name)
        where = Placement(section.address, section.size)
        placements[key] = (*placements.get(key, ()), where)
    inputs = tuple(objects[item.name] for item in link.inputs)
    return LinkedObject(path, placements, inputs, wrapped_symbols(link.invocation.arguments))


def wrapped_symbols(arguments: Sequence[str]) -> frozenset[str]:
    """Of the linker: `--wrap=SYMBOL` or `--wrap SYMBOL`, with one dash or two."""
    found = set()
    for argument, following in pairwise((*arguments, "")):
        option, equals, value = argument.partition("=")
        if option in ("-wrap", "--wrap"):
            found.add(value if equals else following)
    return frozenset(found)


def _movable_sections(item: LinkedInput) -> dict[str, frozenset[int]]:
    """Name → sizes of the sections that the linker moves as they are. COMMON has no sizes."""
    found: dict[str, set[int]] = defaultdict(set)
    for s in ElfFile(item.content).sections:
        rewritten = s.type in _REWRITTEN_TYPES or s.name in _REWRITTEN_NAMES
        if s.flags & c.SHF_ALLOC and not s.flags & c.SHF_MERGE and not rewritten:
            found[s.name].add(s.size)
    return {"COMMON": frozenset(), **{name: frozenset(sizes) for name, sizes in found.items()}}


def _described_outputs(link: Link, path: Path) -> frozenset[str]:
    """The output sections that a process loads, each where the map says."""
    loaded = {
        (s.name, s.address, s.size)
        for s in ElfFile(path.read_bytes()).sections if s.flags & c.SHF_ALLOC
    }  # fmt: skip
    names = {name for name, _, _ in loaded}
    for output in link.map.outputs:
        described = (output.name, output.address, output.size)
        if output.name in names and output.size and described not in loaded:
            raise _mismatch(f"{output.name} is elsewhere in the linked object")
    return frozenset(names)


def _mismatch(what: str) -> BuildRefusedError:
    return BuildRefusedError(
        "link-map",
        f"The link map does not describe the linked object: {what}.",
        "Link without options that rewrite the result, and with GNU ld (-fuse-ld=bfd).",
    )
