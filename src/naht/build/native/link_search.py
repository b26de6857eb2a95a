"""Finds the link that made the object the user named, among all that a build ran.

Refuses when none fits, saying which links were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from naht.build.native.recording import Invocation
from naht.build.native.units import code_view, relative
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError


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
    content = wanted.read_bytes()
    return any(k.copy.read_bytes() == content for k in link.outputs)


def _same_build_id(link: Invocation, wanted: Path) -> bool:
    identity = ElfFile(wanted.read_bytes()).build_id
    return identity is not None and any(
        ElfFile(k.copy.read_bytes()).build_id == identity for k in link.outputs
    )


def _same_code(link: Invocation, wanted: Path) -> bool:
    code = code_view(wanted.read_bytes())
    return any(code_view(k.copy.read_bytes()) == code for k in link.outputs)


def _no_link(
    name: str, links: Sequence[Invocation], records: Sequence[Invocation], tree: Path
) -> BuildRefusedError:
    others = sorted({r.tool.name for r in records if r.kind == "linker-other"})
    seen = sorted({relative(kept.path, tree) for link in links for kept in link.outputs})
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
