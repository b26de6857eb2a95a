"""Knows which files each compilation read, from the rule that the compiler wrote for make.

Refuses nothing: where the build's own rule is missing or leaves out system headers, the compiler
is asked again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from naht.build.native.command_line import without_output, without_side_outputs
from naht.build.native.recompile import WORKERS
from naht.build.native.tool_account import credentials
from naht.build.native.trees import TreeChange
from naht.build.native.units import Compilation

MAX_RULE_SIZE = 64 << 20


Read = Sequence[frozenset[Path] | None]  # one per compilation; None: the compiler would not say


def files_read(compilations: Sequence[Compilation]) -> Read:
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(_files_read, compilations))


def stale_units(
    compilations: Sequence[Compilation], read: Read, change: TreeChange, tree: Path
) -> tuple[Compilation, ...]:
    """The compilations that read a file that changed, or may now find an added one first."""
    touched = {tree / name for name in (*change.changed, *change.removed)}
    added = {Path(name).name for name in change.added}
    return tuple(
        x for x, files in zip(compilations, read, strict=True)
        if files is None or files & touched or added & {f.name for f in files}
    )  # fmt: skip


def unread_files(change: TreeChange, read: Read, tree: Path) -> tuple[str, ...]:
    """Changed files that surely enter no compilation directly."""
    if None in read:
        return ()
    known = {file for files in read if files for file in files}
    return tuple(n for n in change.changed if tree / n not in known)


def _files_read(compilation: Compilation) -> frozenset[Path] | None:
    """With symbolic links followed too."""
    record = compilation.invocation
    rule = record.dependencies
    if rule is None or _leaves_out_system_headers(record.arguments):
        content = _ask_compiler(compilation)
    else:
        content = rule.read_bytes() if rule.stat().st_size <= MAX_RULE_SIZE else None
    if content is None:
        return None
    named = parse_rule(content, record.cwd) | {compilation.source.path}
    return frozenset(named | {Path(os.path.realpath(f)) for f in named})


def _leaves_out_system_headers(arguments: Iterable[str]) -> bool:
    """-MMD does, and a tree's own directories may be among the system's (-isystem)."""
    given = list(arguments)
    short = any(a == "-MMD" or a.startswith("-Wp,-MMD,") for a in given)
    return short and any(a.startswith(("-isystem", "-idirafter")) for a in given)


def _ask_compiler(compilation: Compilation) -> bytes | None:
    command = compilation.command
    others = {s.index for s in command.sources} - {compilation.source.index}
    kept = tuple(a for i, a in enumerate(command.arguments) if i not in others)
    record = compilation.invocation
    result = subprocess.run(
        [str(record.tool), *without_output(without_side_outputs(kept)), "-M", "-w"],
        cwd=record.cwd, env=record.environment, stdin=subprocess.DEVNULL,
        capture_output=True, check=False, **credentials(),
    )  # fmt: skip
    return result.stdout if result.returncode == 0 else None


def parse_rule(rule: bytes, cwd: Path) -> set[Path]:
    """The prerequisites of all rules in a makefile fragment, absolute."""
    text = os.fsdecode(rule).replace("\\\n", " ")
    found: set[Path] = set()
    for line in text.splitlines():
        _, separator, prerequisites = line.partition(": ")
        if separator:
            found |= {Path(os.path.normpath(cwd / name)) for name in _split(prerequisites)}
    return found


def _split(names: str) -> list[str]:
    """make's quoting as compilers write it: backslash-blank, backslash-#, $$ (gcc, mkdeps.cc)."""
    words = names.replace("\\ ", "\0").replace("\\#", "#").replace("$$", "$").split()
    return [w.replace("\0", " ") for w in words]
