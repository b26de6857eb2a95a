"""Finds out what a recorded build did for one object: the link that made it, the plain objects
that went into it and the compilation that made each.

Refuses where the records leave a gap: another linker, a compiler called past the recorder, objects
that were altered between compilation and link, relocatable links, compiler-specific LTO.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from naht.build.native.archives import read_archive
from naht.build.native.command_line import CommandLine, SourceArgument, parse_command
from naht.build.native.link_map import InputSection, LinkMap, read_link_map
from naht.build.native.recording import Invocation
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError


@dataclass(frozen=True)
class Compilation:
    """One source of one driver run."""

    invocation: Invocation
    command: CommandLine
    source: SourceArgument
    output: Path | None  # None: a temporary file of the driver
    copy: Path | None  # of the output, taken right after the compilation

    def source_name(self, tree: Path) -> str:
        return _relative(self.source.path, tree)


@dataclass(frozen=True)
class LinkedInput:
    key: str  # what the object is, the same in both builds: its path, or archive(member)
    name: tuple[str, str]  # file and member as the link map writes them
    content: bytes
    compilation: Compilation | None

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Link:
    invocation: Invocation
    output: Path  # the copy taken right after the link, before anything strips it
    map: LinkMap
    inputs: tuple[LinkedInput, ...]


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


# ---- the link ----


def find_link(records: Sequence[Invocation], tree: Path, name: str) -> Invocation:
    """The last link whose result is the object at `name`, stripped or copied since or not."""
    links = [r for r in records if r.kind == "linker" and r.succeeded and r.outputs]
    wanted = _object_at(tree, name, links, records)
    for same in (_same_path, _same_content, _same_build_id, _same_code):
        for link in reversed(links):
            if same(link, wanted):
                return link
    raise _no_link(name, links, records, tree)


def _object_at(
    tree: Path, name: str, links: Sequence[Invocation], records: Sequence[Invocation]
) -> Path:
    path = tree / name
    if not is_elf(path):  # libtool puts a script there and the program in .libs
        path = path.parent / ".libs" / path.name
    if not is_elf(path):
        raise _no_link(name, links, records, tree)
    return path.resolve()


def is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == c.ELF_MAGIC


def _same_path(link: Invocation, wanted: Path) -> bool:
    return any(kept.path.resolve() == wanted for kept in link.outputs)


def _same_content(link: Invocation, wanted: Path) -> bool:
    content = _content(wanted)
    return any(_size(k.copy) == len(content) and _content(k.copy) == content for k in link.outputs)


def _same_build_id(link: Invocation, wanted: Path) -> bool:
    identity = ElfFile(_content(wanted)).build_id
    return identity is not None and any(
        ElfFile(_content(k.copy)).build_id == identity for k in link.outputs
    )


def _same_code(link: Invocation, wanted: Path) -> bool:
    code = code_view(_content(wanted))
    return any(code_view(_content(k.copy)) == code for k in link.outputs)


def code_view(content: bytes) -> tuple[tuple[str, bytes], ...]:
    """What a process would load of an object: name and bytes of each allocated section."""
    elf = ElfFile(content)
    return tuple(
        (s.name, elf.section_bytes(s)) for s in elf.sections if s.flags & c.SHF_ALLOC and s.size
    )


def _no_link(
    name: str, links: Sequence[Invocation], records: Sequence[Invocation], tree: Path
) -> BuildRefusedError:
    others = sorted({r.tool.name for r in records if r.kind == "linker-other"})
    seen = sorted({_relative(kept.path, tree) for link in links for kept in link.outputs})
    if others:
        return BuildRefusedError(
            "linker",
            f"The build links with {', '.join(others)}, whose work cannot be followed.",
            "Link with GNU ld (for example LDFLAGS=-fuse-ld=bfd).",
            where=name,
        )
    listing = ", ".join(seen[:20]) or "no link at all (is the compiler called by absolute path?)"
    return BuildRefusedError(
        "no-link",
        f"No link that was seen made {name}. Seen: {listing}.",
        "Give --object as a path relative to the tree, and let --command build it from source.",
        where=name,
    )


# ---- its inputs ----


def read_link(invocation: Invocation, compilations: Sequence[Compilation], tree: Path) -> Link:
    if invocation.map is None:
        raise BuildRefusedError(
            "link-map",
            f"The link of {invocation.outputs[0].path.name} left no map.",
            "Remove -M and --print-map from the link flags.",
        )
    if {"-r", "-i", "--relocatable"} & set(invocation.arguments):
        raise _relocatable(invocation.outputs[0].path.name)
    link_map = read_link_map(invocation.map)
    earlier = [x for x in compilations if x.invocation.id < invocation.id]
    inputs = _InputReader(invocation, earlier, tree).read(link_map)
    return Link(invocation, invocation.outputs[0].copy, link_map, inputs)


def _relocatable(name: str) -> BuildRefusedError:
    return BuildRefusedError(
        "relocatable-link",
        f"{name} is made by a relocatable link (ld -r), which hides the objects in it.",
        "Link the objects directly, or through a static library.",
    )


class _InputReader:
    """Reads the objects that a link loaded, each archive once."""

    def __init__(self, link: Invocation, compilations: Sequence[Compilation], tree: Path) -> None:
        self._link = link
        self._tree = tree
        self._kept = {kept.path: kept.copy for kept in link.inputs}
        self._by_output = {x.output: x for x in compilations if x.output}  # the last one wins
        self._compilations = compilations
        self._archives: dict[Path, dict[str, list[bytes]]] = {}

    def read(self, link_map: LinkMap) -> tuple[LinkedInput, ...]:
        order = {file: index for index, file in reversed(list(enumerate(link_map.loaded)))}
        names = dict.fromkeys((s.file, s.member) for s in link_map.inputs)
        found = [
            self._input(name) for name in sorted(names, key=lambda n: order.get(n[0], len(order)))
        ]
        return self._with_temporaries([i for i in found if i is not None])

    def _input(self, name: tuple[str, str]) -> LinkedInput | None:
        file, member = name
        path = Path(os.path.normpath(self._link.cwd / file))
        copy = self._kept.get(path) or path
        if not copy.is_file():
            raise _gap(f"{file} was linked and is gone now")
        content = self._member(path, copy, member) if member else copy.read_bytes()
        if ElfFile(content).type != c.ET_REL:
            return None  # a shared library: the linker hangs sections of its own on it
        key = _relative(path, self._tree) + (f"({member})" if member else "")
        return LinkedInput(key, name, content, self._compilation(path, member, content))

    def _member(self, path: Path, copy: Path, member: str) -> bytes:
        if path not in self._archives:
            members: dict[str, list[bytes]] = {}
            for entry in read_archive(copy, path):
                members.setdefault(entry.name, []).append(entry.content)
            self._archives[path] = members
        candidates = self._archives[path].get(member, [])
        if len(set(candidates)) != 1:
            what = "holds no" if not candidates else "holds several"
            raise BuildRefusedError(
                "archive-member",
                f"{path.name} {what} {member}, so what was linked is unclear.",
                "Give the sources of the library different names.",
                where=str(path),
            )
        return candidates[0]

    def _compilation(self, path: Path, member: str, content: bytes) -> Compilation | None:
        if not member and path in self._by_output:
            return _unaltered(self._by_output[path], content)
        same = self._by_content.get(hashlib.sha256(content).digest(), ())
        named = [x for x in same if x.output and x.output.name == (member or path.name)]
        return next(iter((*named, *same)), None)

    @cached_property
    def _by_content(self) -> dict[bytes, list[Compilation]]:
        found: dict[bytes, list[Compilation]] = {}
        for x in self._compilations:
            if x.copy:
                found.setdefault(hashlib.sha256(_content(x.copy)).digest(), []).append(x)
        return found

    def _with_temporaries(self, inputs: list[LinkedInput]) -> tuple[LinkedInput, ...]:
        """Objects that the driver of this link made of its sources and deleted, in their order."""
        own = [x for x in self._compilations if x.invocation.id == self._link.parent]
        unknown = [
            i for i in inputs
            if i.compilation is None and not i.name[1] and i.key.startswith("/")
            and Path(os.path.normpath(self._link.cwd / i.name[0])) in self._kept
        ]  # fmt: skip
        if not own or len(own) != len(unknown):
            return tuple(inputs)
        made = {
            i.name: LinkedInput(x.source_name(self._tree) + ".o", i.name, i.content, x)
            for i, x in zip(unknown, own, strict=True)
        }
        return tuple(made.get(i.name, i) for i in inputs)


def _unaltered(compilation: Compilation, content: bytes) -> Compilation:
    made = _content(compilation.copy) if compilation.copy else content
    if made != content and code_view(made) != code_view(content):
        raise BuildRefusedError(
            "altered-object",
            f"{compilation.output} was altered between its compilation and the link.",
            "Leave out the step that rewrites it (objcopy, strip, a post-processor).",
        )
    return compilation


def _gap(what: str) -> BuildRefusedError:
    return BuildRefusedError(
        "record-gap", f"The records of the build have a gap: {what}.", "Build without that step."
    )


def sections_of(link: Link, item: LinkedInput) -> list[InputSection]:
    return [s for s in link.map.inputs if (s.file, s.member) == item.name]


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _size(path: Path) -> int:
    return path.stat().st_size


def _relative(path: Path, tree: Path) -> str:
    return str(path.relative_to(tree)) if path.is_relative_to(tree) else str(path)
