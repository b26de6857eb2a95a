"""Which linked objects a change reaches: the last link of each output on both sides, and what the
base shipped it as. Pure; the files are read by others.

A link at install time (libtool does that in a temporary directory) is told by its working directory
and file name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from naht.build.native.recording import Invocation

Key = tuple[str, str]


@dataclass(frozen=True)
class LinkedPair:
    key: Key
    old: Invocation
    new: Invocation

    @property
    def output(self) -> Path:
        return self.old.outputs[0].path


def link_key(link: Invocation, tree: Path) -> Key:
    output = link.outputs[0].path
    inside = output.is_relative_to(tree)
    return ("", str(output.relative_to(tree))) if inside else (str(link.cwd), output.name)


def links_of(records: Iterable[Invocation]) -> list[Invocation]:
    return [
        r for r in records
        if r.kind == "linker" and r.succeeded and r.outputs
        and not {"-r", "-i", "--relocatable"} & set(r.arguments)
    ]  # fmt: skip


def linked_pairs(
    base: Sequence[Invocation], old: Sequence[Invocation], new: Sequence[Invocation], tree: Path
) -> tuple[LinkedPair, ...]:
    """One for each object that either side linked anew."""
    first = last_links(base, tree)
    before, after = {**first, **last_links(old, tree)}, {**first, **last_links(new, tree)}
    return tuple(
        LinkedPair(key, before[key], after[key])
        for key in before if key in after and before[key].id != after[key].id
    )  # fmt: skip


def last_links(records: Sequence[Invocation], tree: Path) -> Mapping[Key, Invocation]:
    return {link_key(link, tree): link for link in links_of(records)}
