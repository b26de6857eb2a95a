"""Reads the map that GNU ld writes with -Map: which input section of which file went where.

Refuses maps that are cut short, oversized or of another linker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from naht.errors import BuildRefusedError, HostileInputError

MAX_MAP_SIZE = 1 << 30
_START = "Linker script and memory map"

# ld prints names in a column of 16 and breaks the line after longer ones (ldlang.c,
# SECTION_NAME_MAP_LENGTH).
_OUTPUT = re.compile(r"^(\S+) +0x([0-9a-f]+) +0x([0-9a-f]+)(?: load address 0x[0-9a-f]+)?$")
_INPUT = re.compile(r"^ (\S+) +0x([0-9a-f]+) +0x([0-9a-f]+) (\S.*)$")
_NAME_ALONE = re.compile(r"^ ?[^\s(*][^\s(]*$")


@dataclass(frozen=True, slots=True)
class OutputSection:
    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class InputSection:
    output: OutputSection
    name: str  # COMMON for common symbols
    address: int
    size: int
    file: str  # as the map writes it
    member: str  # of an archive, else ""


@dataclass(frozen=True)
class LinkMap:
    loaded: tuple[str, ...]  # every file that was read, in order
    inputs: tuple[InputSection, ...]  # in order of address within an output section

    @property
    def outputs(self) -> frozenset[OutputSection]:
        return frozenset(s.output for s in self.inputs)


def read_link_map(path: Path) -> LinkMap:
    if path.stat().st_size > MAX_MAP_SIZE:
        raise HostileInputError(f"The link map {path} is larger than 1 GiB.", "Check the build.")
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return parse_link_map(lines)


def parse_link_map(lines: Iterable[str]) -> LinkMap:
    loaded: list[str] = []
    inputs: list[InputSection] = []
    output: OutputSection | None = None
    ended = False
    for line in _joined(_memory_map(lines)):
        if line.startswith("LOAD "):
            loaded.append(line[5:])
        elif line.startswith("OUTPUT("):
            ended = True
        elif match := _OUTPUT.match(line):
            output = OutputSection(match[1], int(match[2], 16), int(match[3], 16))
        elif (match := _INPUT.match(line)) and output and match[1] != "*fill*":
            file, member = _split_member(match[4])
            inputs.append(InputSection(
                output, match[1], int(match[2], 16), int(match[3], 16), file, member
            ))  # fmt: skip
    if not ended:
        raise BuildRefusedError(
            "link-map",
            "The linker left no map that GNU ld writes.",
            "Link with GNU ld (-fuse-ld=bfd).",
        )
    return LinkMap(tuple(loaded), tuple(inputs))


def _memory_map(lines: Iterable[str]) -> Iterator[str]:
    """From the heading on; what is before lists discarded sections in the same form."""
    iterator = iter(lines)
    for line in iterator:
        if line.rstrip("\n") == _START:
            break
    for line in iterator:
        yield line.rstrip("\n")


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """Puts a long section name and the line that goes on with its address back together."""
    name = ""
    for line in lines:
        if name and line.startswith(" " * 16 + "0x"):
            joined = f"{name} {line.strip()}"
            if _OUTPUT.match(joined) or _INPUT.match(joined):
                yield joined
                name = ""
                continue
        name = line if _NAME_ALONE.match(line) else ""
        if not name:
            yield line


def _split_member(file: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*\S)\(([^()]*(?:\([^()]*\)[^()]*)*)\)", file)
    return (match[1], match[2]) if match else (file, "")
