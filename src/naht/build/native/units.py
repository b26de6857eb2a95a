"""Compilations and links as the records tell them: what was compiled how, and what was linked.

Refuses nothing. Who looks for gaps in the records: `link_search`, `link_inputs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.native.command_line import CommandLine, SourceArgument, parse_command
from naht.build.native.link_map import LinkMap
from naht.build.native.recording import Invocation
from naht.elf import constants as c
from naht.elf.file import ElfFile


@dataclass(frozen=True)
class Compilation:
    """One source of one driver run."""

    invocation: Invocation
    command: CommandLine
    source: SourceArgument
    output: Path | None  # None: a temporary file of the driver
    copy: Path | None  # of the output, taken right after the compilation

    def source_name(self, tree: Path) -> str:
        return relative(self.source.path, tree)


@dataclass(frozen=True)
class LinkedInput:
    key: str  # what the object is, the same in both builds: its path, or archive(member)
    name: tuple[str, str]  # file and member as the link map writes them
    content: bytes
    compilation: Compilation | None
    sectioned: bytes | None = None  # made by the link itself (LTO), so it can't be compiled again

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Link:
    invocation: Invocation
    output: Path  # the copy taken right after the link, before anything strips it
    map: LinkMap
    inputs: tuple[LinkedInput, ...]
    compiled: dict[str, Compilation]  # key of an object → what made it; with LTO of what went in


def code_view(content: bytes) -> tuple[tuple[str, bytes], ...]:
    """What a process would load of an object: name and bytes of each allocated section."""
    elf = ElfFile(content)
    return tuple(
        (s.name, elf.section_bytes(s)) for s in elf.sections if s.flags & c.SHF_ALLOC and s.size
    )


def command_of(invocation: Invocation) -> CommandLine:
    responses = {kept.path: kept.copy for kept in invocation.responses}
    return parse_command(invocation.arguments, invocation.cwd, responses)


def find_compilations(records: Iterable[Invocation]) -> tuple[Compilation, ...]:
    found: list[Compilation] = []
    for record in records:
        if record.kind != "driver" or not record.succeeded:
            continue
        command = command_of(record)
        copies = {kept.path: kept.copy for kept in record.outputs}
        if command.makes_objects:
            for source in command.sources:
                output = command.object_of(source)
                copy = copies.get(output) if output else None
                found.append(Compilation(record, command, source, output, copy))
    return tuple(found)


def relative(path: Path, tree: Path) -> str:
    return str(path.relative_to(tree)) if path.is_relative_to(tree) else str(path)
