"""Reads what went into a link: the plain objects, out of archives too, and who compiled them.

Refuses where the records leave a gap: objects that were altered between compilation and link, that
are hidden in a relocatable link, or that cannot be told apart.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

from naht.build.native.archives import read_archive
from naht.build.native.link_map import InputSection, LinkMap, read_link_map
from naht.build.native.recording import Invocation
from naht.build.native.same_name_members import tell_apart
from naht.build.native.units import Compilation, Link, LinkedInput, code_view, relative
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError


def read_link(invocation: Invocation, compilations: Sequence[Compilation], tree: Path) -> Link:
    link_map = open_link(invocation)
    earlier = [x for x in compilations if x.invocation.id < invocation.id]
    reader = InputReader(invocation, earlier, tree)
    link_map = reader.with_members_apart(link_map)
    inputs = reader.read(link_map)
    compiled = {i.key: i.compilation for i in inputs if i.compilation}
    return Link(invocation, invocation.outputs[0].copy, link_map, inputs, compiled)


def open_link(invocation: Invocation) -> LinkMap:
    name = invocation.outputs[0].path.name
    if invocation.map is None:
        raise BuildRefusedError(
            "link-map",
            f"The link of {name} left no map.",
            "Remove -M and --print-map from the link flags.",
        )
    return read_link_map(invocation.map)


def refuse_hidden_objects(link: Invocation, records: Iterable[Invocation]) -> None:
    """An object made by `ld -r` hides the objects in it from the map of the final link."""
    hiding = {
        kept.path
        for r in records if {"-r", "-i", "--relocatable"} & set(r.arguments)
        for kept in r.outputs
    }  # fmt: skip
    for kept in (*link.inputs, *link.outputs):
        if kept.path in hiding:
            raise BuildRefusedError(
                "relocatable-link",
                f"{kept.path.name} is made by a relocatable link, which hides the objects in it.",
                "Link the objects directly, or through a static library.",
                where=str(kept.path),
            )


class InputReader:
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

    def with_members_apart(self, link_map: LinkMap) -> LinkMap:
        """The map with members of one name numbered as in their archive."""
        groups: dict[tuple[str, str], list[InputSection]] = {}
        for section in link_map.inputs:
            groups.setdefault((section.file, section.member), []).append(section)
        for (file, member), sections in groups.items():
            path = self._path(file)
            copy = self._kept.get(path)
            if member and copy:
                same = self._members(path, copy).get(member, [])
                if len(set(same)) > 1:
                    groups[file, member] = tell_apart(member, same, sections)
        return replace(link_map, inputs=tuple(s for group in groups.values() for s in group))

    def _path(self, file: str) -> Path:
        return Path(os.path.normpath(self._link.cwd / file))

    def compiled_of_all_loaded(self, link_map: LinkMap) -> dict[str, Compilation]:
        """Of every object and archive member that was loaded, whether its sections were kept or
        went into link-time optimisation."""
        found: dict[str, Compilation] = {}
        for file in dict.fromkeys(link_map.loaded):
            path = self._path(file)
            if copy := self._kept.get(path):
                for member, content in self._contents(path, copy):
                    if made := self._compilation(path, member, content):
                        found[self._key(path, member)] = made
        return found

    def _contents(self, path: Path, copy: Path) -> list[tuple[str, bytes]]:
        content = copy.read_bytes()
        if not content.startswith((b"!<arch>\n", b"!<thin>\n")):
            return [("", content)]
        return [(m.name, m.content) for m in read_archive(copy, path)]

    def _key(self, path: Path, member: str) -> str:
        return relative(path, self._tree) + (f"({member})" if member else "")

    def _input(self, name: tuple[str, str]) -> LinkedInput | None:
        file, member = name
        path = self._path(file)
        copy = self._kept.get(path) or self._as_compiled(path) or path
        if path.name.startswith("lto-llvm-"):
            raise BuildRefusedError(
                "clang-lto", "clang's link-time optimisation can't be followed.",
                "Build with -fno-lto.",
            )  # fmt: skip
        if not copy.is_file():
            raise _gap(f"{file} was linked and is gone now")
        content = self._member(path, copy, member) if member else copy.read_bytes()
        if ElfFile(content).type != c.ET_REL:
            return None  # a shared library: the linker hangs sections of its own on it
        key = self._key(path, member)
        return LinkedInput(key, name, content, self._compilation(path, member, content))

    def _as_compiled(self, path: Path) -> Path | None:
        """A member of a thin archive is no argument of the link, which took no copy of it; the file
        itself may be from a later build."""
        made = self._by_output.get(path)
        return made.copy if made else None

    def _member(self, path: Path, copy: Path, member: str) -> bytes:
        members = self._members(path, copy)
        name, _, number = member.rpartition("#")
        if member not in members and name in members and number.isdigit():
            return members[name][int(number)]
        if member not in members:
            raise _gap(f"{path.name} holds no {member}")
        return members[member][0]

    def _members(self, path: Path, copy: Path) -> dict[str, list[bytes]]:
        if path not in self._archives:
            members: dict[str, list[bytes]] = {}
            for entry in read_archive(copy, path):
                members.setdefault(entry.name, []).append(entry.content)
            self._archives[path] = members
        return self._archives[path]

    def _compilation(self, path: Path, member: str, content: bytes) -> Compilation | None:
        same = self._by_content.get(hashlib.sha256(content).digest(), ())
        named = [x for x in same if x.output and x.output.name == (member or path.name)]
        here = [x for x in same if x.output == path]
        # Of equal ones the latest: a change of a header may leave an object as it was, and an
        # archive does not say from which run its member is.
        made = next(iter((*reversed(here), *reversed(named), *reversed(same))), None)
        if made is None and not member and path in self._by_output:
            return _unaltered(self._by_output[path], content)
        return made

    @cached_property
    def _by_content(self) -> dict[bytes, list[Compilation]]:
        found: dict[bytes, list[Compilation]] = {}
        for x in self._compilations:
            if x.copy:
                found.setdefault(_digest_of_copy(x.copy), []).append(x)
        return found

    def _with_temporaries(self, inputs: list[LinkedInput]) -> tuple[LinkedInput, ...]:
        """Objects that the driver of this link made of its sources and deleted, in their order."""
        own = [x for x in self._compilations if x.invocation.id == self._link.parent]
        unknown = [
            i for i in inputs
            if i.compilation is None and not i.name[1] and i.key.startswith("/")
            and self._path(i.name[0]) in self._kept
        ]  # fmt: skip
        if not own or len(own) != len(unknown):
            return tuple(inputs)
        made = {
            i.name: LinkedInput(x.source_name(self._tree) + ".o", i.name, i.content, x)
            for i, x in zip(unknown, own, strict=True)
        }
        return tuple(made.get(i.name, i) for i in inputs)


@lru_cache(maxsize=100_000)
def _digest_of_copy(copy: Path) -> bytes:
    """A copy is never written again, and a package's build links them many times."""
    return hashlib.sha256(copy.read_bytes()).digest()


def _unaltered(compilation: Compilation, content: bytes) -> Compilation:
    made = compilation.copy.read_bytes() if compilation.copy else content
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
